#include "tests/fuzz/session.hh"

namespace fuzz {
application app;
}

using namespace fuzz;

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  warm_up(app);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  begin();
  app.open();
  script in(data, size);
  happen(in);
  allocate_again();
  devices[0].fill_ring_for(0);
  app.close();
  check_service(app);
  settle();
  return 0;
}
