// UpdateFeatures (key 57), v0-2 (KIP-584, KIP-778).   v0: downgrades by a flag.   v2: no result for
// each feature, for it is all or nothing. Answered when the records are committed.
#include "broker/cluster/raft_driver.h"
#include "broker/handlers/handlers.h"
#include "broker/node.h"
#include "protocol/generated/no_op_record.h"
#include "protocol/generated/update_features_request.h"
#include "protocol/generated/update_features_response.h"
#include "replication/controller/feature_levels.h"
#include "replication/raft/quorum.h"

namespace klamm::broker {

using namespace protocol;
using replication::UpgradeType;

namespace {

std::vector<replication::FeatureUpdate> updates_of(const UpdateFeaturesRequest& request,
                                                   int16_t version) {
  std::vector<replication::FeatureUpdate> updates;
  for (const auto& update : request.feature_updates) {
    const UpgradeType type = version > 0 ? static_cast<UpgradeType>(update.upgrade_type)
                             : update.allow_downgrade ? UpgradeType::kSafeDowngrade
                                                      : UpgradeType::kUpgrade;
    updates.push_back({update.feature, update.max_version_level, type});
  }
  return updates;
}

Result<> update(Node& node, const UpdateFeaturesRequest& request, int16_t version) {
  auto& raft = node.quorum().raft();
  TRY(auto change,
      replication::update_features(*node.working_image(), node.config().node_id(),
                                   raft.kraft_version(), updates_of(request, version)));
  if (change.upgrades_kraft) {
    TRY_VOID(raft.upgrade_kraft_version(request.validate_only));
    change.records.push_back(replication::to_record(NoOpRecord{}, 0));  // to be waited for
  }
  return request.validate_only ? Result<>() : node.append(change.records);
}

UpdateFeaturesResponse answer(const UpdateFeaturesRequest& request, const Result<>& outcome) {
  UpdateFeaturesResponse response;
  response.error_message.reset();
  if (!outcome) {
    response.error_code = outcome.error().code;
    response.error_message = outcome.error().why;
    return response;
  }
  for (const auto& update : request.feature_updates) {
    auto& result = response.results.emplace_back();
    result.feature = update.feature;
    result.error_message.reset();
  }
  return response;
}

}  // namespace

void handle(RequestContext& context, UpdateFeaturesRequest&& request,
            Reply<UpdateFeaturesResponse> reply) {
  context.broker.at_controller(
      [request = std::move(request), reply = std::move(reply)](Node& node) mutable {
        if (const auto updated = update(node, request, reply.version()); !updated) {
          return reply.send(answer(request, updated));
        }
        node.when_committed([request = std::move(request),
                             reply = std::move(reply)](const Result<>& committed) mutable {
          reply.send(answer(request, committed));
        });
        node.raft_driver().arm();
      });
}

}  // namespace klamm::broker
