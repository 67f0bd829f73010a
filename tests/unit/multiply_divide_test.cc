// sources:
// The 128-bit product and quotient against the compiler's, and the cases that would fault.
#include "arch/x64/multiply_divide.hh"

#include <gtest/gtest.h>
#include <random>

namespace {

using oblako::arch::multiply_divide;

TEST(MultiplyDivide, AgreesWithTheCompiler) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t a = random() >> random() % 64, b = random() >> random() % 64;
    const uint64_t c = (random() >> random() % 64) | 1;
    const auto exact = static_cast<unsigned __int128>(a) * b / c;
    const uint64_t expected = exact > UINT64_MAX ? UINT64_MAX : static_cast<uint64_t>(exact);
    ASSERT_EQ(multiply_divide(a, b, c), expected) << a << " * " << b << " / " << c;
  }
}

TEST(MultiplyDivide, SaturatesInsteadOfFaulting) {
  EXPECT_EQ(multiply_divide(1, 1, 0), UINT64_MAX);
  EXPECT_EQ(multiply_divide(UINT64_MAX, 2, 1), UINT64_MAX);
  EXPECT_EQ(multiply_divide(UINT64_MAX, UINT64_MAX, UINT64_MAX), UINT64_MAX);
  EXPECT_EQ(multiply_divide(UINT64_MAX, 1, 1), UINT64_MAX);
  EXPECT_EQ(multiply_divide(0, UINT64_MAX, 7), 0u);
}

} // namespace
