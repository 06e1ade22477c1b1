#pragma once

#include <trireme/core/error.h>

#include <gtest/gtest.h>

namespace trireme::test {

/// The Error that `call` throws; a failure of the test if it throws none.
template <class Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorKind::usage, "nothing was thrown");
}

}  // namespace trireme::test
