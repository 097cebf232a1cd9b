// klamm [server.properties] [--override key=value]...
// klamm format | random-uuid | dev
#include <malloc.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "broker/cluster/lifecycle.h"
#include "broker/launch/dev_nodes.h"
#include "broker/launch/format.h"
#include "broker/net/listeners.h"
#include "broker/net/peers.h"
#include "broker/net/server.h"
#include "broker/net/shard.h"
#include "broker/net/workers.h"
#include "broker/node.h"
#include "storage/checkpoint.h"
#include "storage/env/posix_env.h"
#include "storage/log_dir.h"

extern char** environ;

namespace {

using namespace klamm;
using namespace klamm::broker;

// Kafka's own line layout, for there are programs that wait for certain lines: [time] LEVEL message
// (logger).
class KafkaLevel : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& into) override {
    static constexpr const char* kNames[] = {"TRACE", "DEBUG", "INFO", "WARN",
                                             "ERROR", "FATAL", "OFF"};
    const std::string_view name = kNames[message.level];
    into.append(name.data(), name.data() + name.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<KafkaLevel>();
  }
};

void set_up_log() {
  auto logger =
      std::make_shared<spdlog::logger>("klamm", std::make_shared<spdlog::sinks::stdout_sink_mt>());
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<KafkaLevel>('*').set_pattern("[%Y-%m-%d %H:%M:%S,%e] %* %v");
  logger->set_formatter(std::move(formatter));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(logger);
  if (const char* level = std::getenv("KAFKA_LOG4J_ROOT_LOGLEVEL")) {
    std::string name = level;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    spdlog::set_level(spdlog::level::from_str(name));
  }
}

// Printed whatever the log level is, in the text that Testcontainers and others wait for.
void say_started(int32_t node_id) {
  const auto level = spdlog::get_level();
  spdlog::set_level(spdlog::level::info);
  spdlog::info(
      "[BrokerLifecycleManager id={}] The broker has been unfenced. Transitioning from RECOVERY to "
      "RUNNING. (org.apache.kafka.server.BrokerLifecycleManager)",
      node_id);
  spdlog::info("[KafkaRaftServer nodeId={}] Kafka Server started (kafka.server.KafkaRaftServer)",
               node_id);
  spdlog::set_level(level);
}

Result<ConfigMap> gather_config(storage::Disk& disk, const std::string& file,
                                const std::vector<std::string>& overrides) {
  ConfigMap config;
  if (!file.empty()) {
    TRY(const std::string text, disk.read_file(file));
    config = storage::parse_properties(text);
  }
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    environment.emplace_back(*entry);
  }
  for (const auto& [name, value] : config_from_environment(environment)) {
    config[name] = value;
  }
  for (const std::string& text : overrides) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return fail(ErrorCode::kInvalidConfig, "--override wants key=value, not " + text);
    }
    config[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return config;
}

constexpr size_t kWorkersMax = 8;

// As many files as the system allows, less what connections need.
size_t open_files_max() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return 512;
  }
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
  return std::max<size_t>(limit.rlim_cur / 2, 64);
}

// The event loops of the node's shards. The first runs on the calling thread.
class Loops {
 public:
  Loops(Node& node, std::vector<std::unique_ptr<Peers>>& peers)
      : node_(node), peers_(peers), mailboxes_(shards_) {
    const auto connections = static_cast<size_t>(node.config().number("max.connections"));
    for (size_t i = 0; i < node.shard_count(); ++i) {
      shards_.push_back(std::make_unique<Shard>(node.shard(i).timers(), node.environment().clock,
                                                node.shard(i).background()));
      servers_.push_back(std::make_unique<Server>(
          node.shard(i), *shards_[i], (connections + node.shard_count() - 1) / node.shard_count()));
    }
    node.use(mailboxes_);
    for (size_t i = 0; i < peers_.size(); ++i) {
      peers_[i]->attach(*shards_[i], node.shard(i).timers());
    }
  }
  ~Loops() {
    for (const auto& peers : peers_) {
      peers->detach();
    }
  }
  Result<> bind() { return listeners_.bind(); }
  // Until a signal tells it to stop, or a failure; true after a signal.
  bool run() {
    asio::signal_set signals(shards_.front()->io(), SIGINT, SIGTERM);
    signals.async_wait([this, &signals](const asio::error_code&, int) {
      signals.async_wait([this](const asio::error_code& error, int) {
        if (!error) {
          stop();  // a second signal has no patience
        }
      });
      node_.begin_stop([this] { stop(); });
    });
    for (const auto& server : servers_) {
      server->start();
    }
    node_.start_background();
    listeners_.start();
    asio::steady_timer trim_timer(shards_.front()->io());
    trim_memory(trim_timer);
    std::vector<std::thread> threads;
    for (size_t i = 1; i < shards_.size(); ++i) {
      threads.emplace_back([shard = shards_[i].get()] { shard->run(); });
    }
    shards_.front()->run();
    for (auto& thread : threads) {
      thread.join();
    }
    return !halted_;
  }
  // Nothing can be served any more. From any thread.
  void halt(const std::string& why) {
    spdlog::critical("{}", why);
    halted_ = true;
    shards_.front()->post([this] { stop(); });
  }

 private:
  static void trim_memory(asio::steady_timer& timer) {
    constexpr auto kPeriod = std::chrono::seconds(10);
    timer.expires_after(kPeriod);
    timer.async_wait([&timer](const asio::error_code& error) {
      if (!error) {
        ::malloc_trim(0);
        trim_memory(timer);
      }
    });
  }
  void stop() {
    listeners_.stop();
    for (size_t i = 0; i < shards_.size(); ++i) {
      shards_[i]->post([shard = shards_[i].get(), server = servers_[i].get()] {
        server->stop();
        shard->stop();
      });
    }
  }

  Node& node_;
  std::vector<std::unique_ptr<Peers>>& peers_;
  std::atomic<bool> halted_ = false;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::vector<std::unique_ptr<Server>> servers_;
  ShardMailboxes mailboxes_;
  Listeners listeners_{node_.shard(kControllerShard), servers_};
};

Result<> run(const std::string& file, const std::vector<std::string>& overrides) {
  const auto disk = storage::make_posix_disk();
  const auto clock = storage::make_posix_clock();
  const auto random = storage::make_posix_random();
  TRY(auto given, gather_config(*disk, file, overrides));
  TRY(auto config, BrokerConfig::make(std::move(given)));
  for (const std::string& name : config.unknown_keys()) {
    spdlog::debug("{} is no configuration key of Kafka's; it is ignored", name);
  }
  const char* cluster_id = std::getenv("CLUSTER_ID");
  WorkerThreads workers(kWorkersMax);
  std::vector<std::unique_ptr<Peers>> peers;
  const auto transport = [&peers](size_t shard) -> replication::Transport& {
    while (peers.size() <= shard) {
      peers.push_back(std::make_unique<Peers>());
    }
    return *peers[shard];
  };
  std::function<void(const std::string&)> halt = [](const std::string&) {};
  TRY(const auto node,
      Node::open({*disk, *clock, *random, workers, std::thread::hardware_concurrency(),
                  open_files_max(), [&halt](const std::string& why) { halt(why); }, transport},
                 std::move(config), cluster_id == nullptr ? "" : cluster_id));
  Loops loops(*node, peers);
  halt = [&loops](const std::string& why) { loops.halt(why); };
  TRY_VOID(loops.bind());
  spdlog::info("klamm {} serves cluster {} from {}", KLAMM_VERSION, node->cluster_id(),
               node->config().log_dirs().front());
  node->lifecycle().on_running([id = node->config().node_id()] { say_started(id); });
  const bool may_close = loops.run();
  workers.finish();
  if (!may_close) {
    return fail(ErrorCode::kKafkaStorageError, "halted");
  }
  TRY_VOID(node->close());
  spdlog::info("[KafkaRaftServer nodeId={}] Kafka Server stopped (kafka.server.KafkaRaftServer)",
               node->config().node_id());
  return {};
}

Result<> format_directories(const std::string& file, const std::vector<std::string>& overrides,
                            const FormatWish& wish) {
  const auto disk = storage::make_posix_disk();
  TRY(auto given, gather_config(*disk, file, overrides));
  TRY(const auto config, BrokerConfig::make(std::move(given)));
  return format(*disk, *storage::make_posix_clock(), *storage::make_posix_random(), config, wish);
}

// The subcommands: each says what it runs, if it is asked for.
struct Commands {
  std::string file;
  std::vector<std::string> overrides;
  FormatWish wish;
  bool no_initial_controllers = false;
  DevNodes nodes;
  std::function<Result<>()> chosen = [this] { return run(file, overrides); };

  void add_to(CLI::App& app) {
    add_run_options(app);
    auto* const format = app.add_subcommand(
        "format", "Make the directories of the configuration those of a cluster (kafka-storage)");
    format->add_option("-c,--config", file, "server.properties");
    format->add_option("--override", overrides, "key=value")->allow_extra_args(false);
    format->add_option("-t,--cluster-id", wish.cluster_id, "The cluster's id")->required();
    format->add_flag("-g,--ignore-formatted", wish.ignore_formatted,
                     "Leave directories alone that are formatted already");
    format->add_flag("-s,--standalone", wish.standalone,
                     "This controller is the first voter; others may be added");
    format->add_option("-I,--initial-controllers", wish.initial_controllers,
                       "The first voters: id@host:port:directory,...");
    format->add_flag("-N,--no-initial-controllers", no_initial_controllers,
                     "This node joins a quorum that has voters");
    format->callback(
        [this] { chosen = [this] { return format_directories(file, overrides, wish); }; });
    app.add_subcommand("random-uuid", "Print an id for a new cluster")->callback([this] {
      chosen = [] {
        std::cout << storage::new_uuid(*storage::make_posix_random()).to_string() << "\n";
        return Result<>();
      };
    });
    auto* const dev = app.add_subcommand(
        "dev", "Run a cluster on this machine; its nodes are killed and started by number");
    dev->add_option("--nodes", nodes.count, "How many")->capture_default_str();
    dev->add_option("--port", nodes.port, "Of the first node")->capture_default_str();
    dev->add_option("--dir", nodes.folder, "Where the nodes live; else a temporary directory");
    dev->callback([this] { chosen = [this] { return run_dev_nodes(nodes); }; });
  }

 private:
  void add_run_options(CLI::App& app) {
    app.add_option("properties", file,
                   "server.properties; without it a working single node starts on port 9092");
    app.add_option("--override", overrides, "key=value, stronger than the file and the environment")
        ->allow_extra_args(false);
    app.set_version_flag(
        "--version", std::string("klamm ") + KLAMM_VERSION + " (protocol of Apache Kafka 4.4.0)");
  }
};

}  // namespace

int main(int argc, char** argv) {
  // Frames of up to some MB come and go by the thousand: a mapping for each would cost more than
  // all the rest. What a burst leaves behind is handed back a little later (Loops::trim_memory).
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 32 << 20);
  // Who sends to a client that is gone is told so by the call: sendfile cannot be asked for
  // silence.
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("klamm: Apache Kafka's broker as one small native binary", "klamm");
  Commands commands;
  commands.add_to(app);
  CLI11_PARSE(app, argc, argv);
  set_up_log();
  if (const auto result = commands.chosen(); !result) {
    spdlog::critical("{}", result.error().why);
    return 1;
  }
  return 0;
}
