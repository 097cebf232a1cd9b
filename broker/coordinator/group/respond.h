#pragma once
// How a coordinator answers: a function to be called once, now or later.
#include <functional>

namespace klamm::broker {

template <class Response>
using Respond = std::move_only_function<void(Response)>;

}  // namespace klamm::broker
