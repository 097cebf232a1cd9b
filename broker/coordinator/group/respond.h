#pragma once
// How a coordinator answers: a function to be called once, now or later.
#include <functional>
#include <memory>
#include <utility>

namespace klamm::broker {

template <class Response>
using Respond = std::move_only_function<void(Response)>;

// The same in a form that can be copied, where an interface wants that; only one copy may be
// called.
template <class Response>
auto copyable(Respond<Response> respond) {
  return [shared = std::make_shared<Respond<Response>>(std::move(respond))](Response response) {
    (*shared)(std::move(response));
  };
}

}  // namespace klamm::broker
