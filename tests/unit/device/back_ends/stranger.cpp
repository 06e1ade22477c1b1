// A library that is no back end.
extern "C" int answer() {
  return 42;
}
