// The intake of GitHub's webhook: proves who sent a delivery before it looks into it, and answers
// only once what it asks for is durable. Any thread.
#pragma once

#include "api/context.hpp"

namespace atlasflow::api {

// GitHub sends no larger deliveries (docs.github.com, "Webhook events and payloads").
constexpr std::uint64_t k_webhook_bytes_max = 25ULL << 20;

// POST /webhooks/github. The context must outlive the router.
void add_webhook_route(Router& router, const Context& context);

}  // namespace atlasflow::api
