"""What `make run`, the tests and the benchmarks share: starting a virtual machine from an image,
network namespaces of one's own, names for addresses. Only Python's standard library."""
