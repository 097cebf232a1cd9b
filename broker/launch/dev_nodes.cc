#include "broker/launch/dev_nodes.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/read_until.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "storage/env/posix_env.h"
#include "storage/log_dir.h"

extern char** environ;

namespace klamm::broker {

namespace {

namespace fs = std::filesystem;
constexpr int kNodesMax = 9;
constexpr uint16_t kControllerPortsUp = 10'000;  // above the broker's port

struct DevNode {
  int id;
  uint16_t port;
  fs::path folder;
  pid_t pid = 0;
};

std::string properties_of(const DevNode& node, const DevNodes& wish) {
  std::string voters;
  for (int id = 1; id <= wish.count; ++id) {
    voters += fmt::format("{}{}@127.0.0.1:{}", id == 1 ? "" : ",", id,
                          wish.port + id - 1 + kControllerPortsUp);
  }
  const int factor = std::min(wish.count, 3);
  return fmt::format(
      "process.roles=broker,controller\n"
      "node.id={}\n"
      "controller.quorum.voters={}\n"
      "controller.listener.names=CONTROLLER\n"
      "listeners=PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}\n"
      "log.dirs={}\n"
      "default.replication.factor={}\n"
      "min.insync.replicas={}\n"
      "offsets.topic.replication.factor={}\n"
      "transaction.state.log.replication.factor={}\n"
      "transaction.state.log.min.isr={}\n"
      "share.coordinator.state.topic.replication.factor={}\n"
      "group.initial.rebalance.delay.ms=0\n",
      node.id, voters, node.port, node.port + kControllerPortsUp, (node.folder / "data").string(),
      factor, std::min(factor, 2), factor, factor, std::min(factor, 2), factor);
}

// What is typed, and what becomes of the processes.
class Console {
 public:
  Console(const DevNodes& wish, fs::path folder) : folder_(std::move(folder)) {
    for (int id = 1; id <= wish.count; ++id) {
      nodes_.push_back(
          {id, static_cast<uint16_t>(wish.port + id - 1), folder_ / fmt::format("node-{}", id)});
      fs::create_directories(nodes_.back().folder);
      std::ofstream(nodes_.back().folder / "server.properties")
          << properties_of(nodes_.back(), wish);
    }
  }

  Result<> run() {
    for (DevNode& node : nodes_) {
      TRY_VOID(start(node));
    }
    signals_.async_wait([this](const asio::error_code&, int) { io_.stop(); });
    await_children();
    await_start();
    io_.run();
    stop_all();
    return {};
  }

 private:
  Result<> start(DevNode& node) {
    const std::string file = (node.folder / "server.properties").string();
    const std::string log = (node.folder / "broker.log").string();
    std::string program = fs::read_symlink("/proc/self/exe").string();
    std::string argument = file;
    char* const arguments[] = {program.data(), argument.data(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    // A Ctrl-C is for this process, which stops the others in order.
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    const int failed =
        posix_spawn(&node.pid, program.c_str(), &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failed != 0) {
      node.pid = 0;
      return fail(ErrorCode::kKafkaStorageError,
                  fmt::format("node {} cannot be started: {}", node.id, strerror(failed)));
    }
    return {};
  }

  bool answers(const DevNode& node) {
    asio::ip::tcp::socket socket(io_);
    asio::error_code error;
    socket.connect({asio::ip::address_v4::loopback(), node.port}, error);
    return !error;
  }

  void show() {
    fmt::print("\n  node  listener         state    process  log\n");
    for (const DevNode& node : nodes_) {
      fmt::print("  {:>4}  127.0.0.1:{:<5}  {:<7}  {:>7}  {}\n", node.id, node.port,
                 node.pid == 0   ? "down"
                 : answers(node) ? "up"
                                 : "starts",
                 node.pid == 0 ? "-" : std::to_string(node.pid),
                 (node.folder / "broker.log").string());
    }
    std::string all;
    for (const DevNode& node : nodes_) {
      all += fmt::format("{}127.0.0.1:{}", all.empty() ? "" : ",", node.port);
    }
    fmt::print("\n  bootstrap.servers={}\n  kill N, stop N, start N, status, quit\n\n", all);
    prompt();
  }
  void prompt() {
    fmt::print("> ");
    std::fflush(stdout);
  }

  // Shows the nodes once they all answer, or one has ended instead.
  void await_start() {
    const bool done = std::all_of(nodes_.begin(), nodes_.end(), [this](const DevNode& node) {
      return node.pid == 0 || answers(node);
    });
    if (done) {
      show();
      return read_line();
    }
    timer_.expires_after(std::chrono::milliseconds(20));
    timer_.async_wait([this](const asio::error_code& error) {
      if (!error) {
        await_start();
      }
    });
  }

  void await_children() {
    children_.async_wait([this](const asio::error_code& error, int) {
      if (error) {
        return;
      }
      int status = 0;
      while (const pid_t pid = ::waitpid(-1, &status, WNOHANG)) {
        if (pid < 0) {
          break;
        }
        for (DevNode& node : nodes_) {
          if (node.pid == pid) {
            node.pid = 0;
            fmt::print("node {} has ended{}\n", node.id,
                       WIFSIGNALED(status) ? fmt::format(" by signal {}", WTERMSIG(status))
                       : WEXITSTATUS(status) == 0
                           ? std::string()
                           : fmt::format(" with {}; see its log", WEXITSTATUS(status)));
          }
        }
      }
      std::fflush(stdout);
      await_children();
    });
  }

  void read_line() {
    asio::async_read_until(input_, asio::dynamic_buffer(line_), '\n',
                           [this](const asio::error_code& error, size_t size) {
                             if (error) {
                               return;  // no more input: the nodes go on until a signal
                             }
                             const std::string line = line_.substr(0, size);
                             line_.erase(0, size);
                             if (obey(line)) {
                               read_line();
                             } else {
                               io_.stop();
                             }
                           });
  }

  bool obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    int id = 0;
    words >> verb >> id;
    if (verb == "quit" || verb == "exit") {
      return false;
    }
    if (verb == "status") {
      show();
      return true;
    }
    const bool known = verb == "kill" || verb == "stop" || verb == "start";
    if (known && id >= 1 && id <= static_cast<int>(nodes_.size())) {
      act(verb, nodes_[static_cast<size_t>(id) - 1]);
    } else if (known) {
      fmt::print("{} wants the number of a node, 1 to {}\n", verb, nodes_.size());
    } else if (!verb.empty()) {
      fmt::print("there is kill N, stop N, start N, status and quit\n");
    }
    prompt();
    return true;
  }

  void act(const std::string& verb, DevNode& node) {
    if (verb == "start" ? node.pid != 0 : node.pid == 0) {
      fmt::print("node {} is {}\n", node.id, node.pid == 0 ? "down" : "up");
    } else if (verb != "start") {
      ::kill(node.pid, verb == "kill" ? SIGKILL : SIGTERM);
    } else if (const auto started = start(node); !started) {
      fmt::print("{}\n", started.error().why);
    }
  }

  void stop_all() {
    for (const int signal : {SIGTERM, SIGKILL}) {
      for (const DevNode& node : nodes_) {
        if (node.pid != 0) {
          ::kill(node.pid, signal);
        }
      }
      constexpr int kPatienceMs = 5'000;
      for (int waited = 0; waited < kPatienceMs && any_up(); waited += 10) {
        ::usleep(10'000);
      }
    }
  }
  bool any_up() {
    bool any = false;
    for (DevNode& node : nodes_) {
      if (node.pid != 0 && ::waitpid(node.pid, nullptr, WNOHANG) == node.pid) {
        node.pid = 0;
      }
      any = any || node.pid != 0;
    }
    return any;
  }

  fs::path folder_;
  std::vector<DevNode> nodes_;
  asio::io_context io_;
  asio::signal_set signals_{io_, SIGINT, SIGTERM, SIGHUP};
  asio::signal_set children_{io_, SIGCHLD};
  asio::steady_timer timer_{io_};
  asio::posix::stream_descriptor input_{io_, ::dup(STDIN_FILENO)};
  std::string line_;
};

}  // namespace

Result<> run_dev_nodes(const DevNodes& wish) {
  if (wish.count < 1 || wish.count > kNodesMax) {
    return fail(ErrorCode::kInvalidConfig, fmt::format("--nodes wants 1 to {}", kNodesMax));
  }
  if (wish.port == 0 || wish.port + wish.count + kControllerPortsUp > UINT16_MAX) {
    return fail(
        ErrorCode::kInvalidConfig,
        fmt::format("--port wants a number up to {}, for the controllers listen {} above it",
                    UINT16_MAX - kControllerPortsUp - wish.count, kControllerPortsUp));
  }
  try {
    fs::path folder = wish.folder;
    if (folder.empty()) {
      std::string made = (fs::temp_directory_path() / "klamm-dev-XXXXXX").string();
      if (::mkdtemp(made.data()) == nullptr) {
        return fail(ErrorCode::kKafkaStorageError, "cannot make " + made);
      }
      folder = made;
    }
    // Empty directories take it from there; others have theirs.
    if (!fs::exists(folder / "node-1" / "data" / "meta.properties")) {
      const std::string id = storage::new_uuid(*storage::make_posix_random()).to_string();
      ::setenv("CLUSTER_ID", id.c_str(), 0);
    } else {
      ::unsetenv("CLUSTER_ID");
    }
    const auto done = Console(wish, fs::absolute(folder)).run();
    if (wish.folder.empty()) {
      fs::remove_all(folder);
    }
    return done;
  } catch (const std::exception& error) {  // of the file system and of Asio
    return fail(ErrorCode::kKafkaStorageError, error.what());
  }
}

}  // namespace klamm::broker
