// The load of tools/bench: plain blocking sockets and batches made beforehand, so that the client
// costs little and the same for both brokers. Prints one line of numbers for each mode.
//
//   bench_client produce  PORT TOPIC PARTITIONS ACKS MEGABYTES BATCH_BYTES RECORD_BYTES
//   bench_client keyed    PORT TOPIC MEGABYTES        (1 KiB records over 1,024 keys)
//   bench_client synced   PORT TOPIC PRODUCERS SECONDS (each with one 1 KiB batch on its way)
//   bench_client fetch    PORT TOPIC PARTITIONS
//   bench_client ready    PORT TOPIC PARTITIONS       (until every partition tells its end)
//   bench_client hold     MEGABYTES                   (all free memory but these, until input ends)
//   bench_client transfer FILE                        (the bare loop: page cache to a socket)
//   bench_client receive  FILE MEGABYTES CHUNK        (the bare loop: a socket to a new file)
//   bench_client latency  PORT TOPIC RECORDS_PER_S SECONDS
//   bench_client requests PORT CONNECTIONS SECONDS
//   bench_client idle     PORT CONNECTIONS            (until standard input ends)
//   bench_client members  PORT GROUP COUNT            (of a classic group; until all have joined)
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "protocol/generated/api_versions_request.h"
#include "protocol/generated/fetch_request.h"
#include "protocol/generated/fetch_response.h"
#include "protocol/generated/heartbeat_request.h"
#include "protocol/generated/heartbeat_response.h"
#include "protocol/generated/join_group_request.h"
#include "protocol/generated/join_group_response.h"
#include "protocol/generated/list_offsets_request.h"
#include "protocol/generated/list_offsets_response.h"
#include "protocol/generated/produce_request.h"
#include "protocol/generated/produce_response.h"
#include "protocol/generated/request_header.h"
#include "protocol/generated/sync_group_request.h"
#include "protocol/generated/sync_group_response.h"
#include "protocol/records/builder.h"

namespace {

using namespace klamm::protocol;
using Clock = std::chrono::steady_clock;

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "bench_client: %s\n", why.c_str());
  std::exit(1);
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Connection {
 public:
  explicit Connection(int port) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      die("cannot connect");
    }
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  Connection(Connection&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Connection() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  int fd() const { return fd_; }

  void send(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (put <= 0) {
        die("the broker closed the connection");
      }
      bytes = bytes.subspan(static_cast<size_t>(put));
    }
  }
  Bytes receive() {
    uint8_t length[4];
    fill(length, 4);
    Bytes body = Bytes::allocate(static_cast<size_t>(load<int32_t>(length)));
    fill(body.mutable_data(), body.size());
    return body;
  }

 private:
  void fill(uint8_t* into, size_t size) {
    while (size > 0) {
      const ssize_t got = ::recv(fd_, into, size, 0);
      if (got <= 0) {
        die("the broker closed the connection");
      }
      into += got;
      size -= static_cast<size_t>(got);
    }
  }
  int fd_;
};

template <class Request>
Bytes frame(const Request& request, int16_t version) {
  Writer out;
  out.fixed<int32_t>(0);
  RequestHeader header;
  header.request_api_key = Request::kKey;
  header.request_api_version = version;
  header.correlation_id = 1;
  header.client_id = "bench";
  header.encode(out, version >= Request::kFlexibleFrom ? 2 : 1);
  request.encode(out, version);
  Bytes bytes = out.flatten();
  store(bytes.mutable_data(), static_cast<int32_t>(bytes.size() - 4));
  return bytes;
}

template <class Response>
Response answer(Connection& connection, int16_t version) {
  Reader in(connection.receive());
  in.fixed<int32_t>();
  if (version >= Response::kFlexibleFrom) {
    in.uvarint();
  }
  Response response;
  response.decode(in, version);
  if (!in.ok()) {
    die("an answer cannot be read");
  }
  return response;
}

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::span<const uint8_t> span_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// With keys from `first_key` on, or without where that is negative.
Bytes make_batch(size_t batch_bytes, size_t record_bytes, int first_key = -1) {
  BatchBuilder builder({});
  const std::string value(record_bytes, 'v');
  for (size_t size = 0; size < batch_bytes; size += record_bytes) {
    const std::string key = "key-" + std::to_string(first_key);
    builder.add(now_ms(), first_key < 0 ? std::nullopt : std::optional(span_of(key)),
                span_of(value));
    first_key += first_key < 0 ? 0 : 1;
  }
  return builder.build();
}

Bytes produce_frame(const std::string& topic, int partition, int16_t acks, const Bytes& batch) {
  ProduceRequest request;
  request.acks = acks;
  request.timeout_ms = 30'000;
  request.topic_data.push_back(
      {.name = topic, .partition_data = {{.index = partition, .records = Payload(batch)}}});
  return frame(request, 9);
}

void check(const ProduceResponse& response) {
  const auto& partition = response.responses.at(0).partition_responses.at(0);
  if (partition.error_code != klamm::ErrorCode::kNone) {
    die("a produce failed: " + std::string(name_of(partition.error_code)));
  }
}

// Sends the frames in turn, five of them on their way at a time.
void send_all(int port, const std::vector<Bytes>& frames, int64_t count, size_t batch_size) {
  constexpr int kInFlight = 5;
  Connection connection(port);
  const auto start = Clock::now();
  int64_t answered = 0;
  for (int64_t sent = 0; sent < count; ++sent) {
    connection.send(frames[static_cast<size_t>(sent) % frames.size()].span());
    if (sent - answered >= kInFlight) {
      check(answer<ProduceResponse>(connection, 9));
      ++answered;
    }
  }
  for (; answered < count; ++answered) {
    check(answer<ProduceResponse>(connection, 9));
  }
  std::printf("%.6f %.0f\n", seconds_since(start),
              static_cast<double>(count) * static_cast<double>(batch_size));
}

int64_t count_of(int64_t megabytes, const Bytes& batch) {
  return megabytes * 1'000'000 / static_cast<int64_t>(batch.size());
}

void produce(int port, const std::string& topic, int partitions, int16_t acks, int64_t megabytes,
             size_t batch_bytes, size_t record_bytes) {
  const Bytes batch = make_batch(batch_bytes, record_bytes);
  std::vector<Bytes> frames;
  for (int i = 0; i < partitions; ++i) {
    frames.push_back(produce_frame(topic, i, acks, batch));
  }
  send_all(port, frames, count_of(megabytes, batch), batch.size());
}

void keyed(int port, const std::string& topic, int64_t megabytes) {
  constexpr int kKeys = 1024;
  constexpr int kRecords = 16;
  std::vector<Bytes> frames;
  Bytes batch;
  for (int key = 0; key < kKeys; key += kRecords) {
    batch = make_batch(kRecords * 1024, 1024, key);
    frames.push_back(produce_frame(topic, 0, 1, batch));
  }
  send_all(port, frames, count_of(megabytes, batch), batch.size());
}

// Answers per second to many connections, each of which asks again once it has its answer; `take`
// reads one.
void ask_again(int port, int connections, const Bytes& request, int seconds,
               const std::function<void(Connection&)>& take) {
  std::vector<Connection> all;
  std::vector<pollfd> polls;
  for (int i = 0; i < connections; ++i) {
    all.emplace_back(port);
    polls.push_back({all.back().fd(), POLLIN, 0});
    all.back().send(request.span());
  }
  const auto start = Clock::now();
  int64_t answered = 0;
  while (seconds_since(start) < seconds) {
    ::poll(polls.data(), polls.size(), 1000);
    for (size_t i = 0; i < polls.size(); ++i) {
      if ((polls[i].revents & POLLIN) != 0) {
        take(all[i]);
        ++answered;
        all[i].send(request.span());
      }
    }
  }
  std::printf("%.1f\n", static_cast<double>(answered) / seconds_since(start));
}

// Acknowledgements of producers that each wait for the last one.
void synced(int port, const std::string& topic, int producers, int seconds) {
  ask_again(port, producers, produce_frame(topic, 0, -1, make_batch(1024, 1024)), seconds,
            [](Connection& connection) { check(answer<ProduceResponse>(connection, 9)); });
}

constexpr size_t kChunk = 1 << 20;

// One end of a connection over loopback; `other` has the other end, on a thread of its own.
class Loopback {
 public:
  explicit Loopback(std::function<void(Connection&)> other) {
    const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        ::listen(listener, 1) != 0 ||
        ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      die("cannot set up a connection over loopback");
    }
    other_ = std::thread([port = ntohs(address.sin_port), other = std::move(other)] {
      Connection connection(port);
      other(connection);
    });
    fd_ = ::accept(listener, nullptr, nullptr);
    ::close(listener);
  }
  ~Loopback() {
    ::close(fd_);
    other_.join();
  }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
  std::thread other_;
};

double thread_cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What reading a file from the page cache and sending it costs at least: CPU seconds of the sender,
// and bytes.
void transfer(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY);
  const Loopback loopback([](Connection& connection) {
    std::vector<uint8_t> into(kChunk);
    while (::recv(connection.fd(), into.data(), into.size(), 0) > 0) {
    }
  });
  std::vector<uint8_t> buffer(kChunk);
  int64_t total = 0;
  for (ssize_t got = 0; (got = ::pread(file, buffer.data(), buffer.size(), total)) > 0;) {
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t put =
          ::send(loopback.fd(), buffer.data() + sent, static_cast<size_t>(got - sent), 0);
      if (put <= 0) {
        die("the transfer broke off");
      }
      sent += put;
    }
    total += got;
  }
  if (total == 0) {
    die("nothing to read in " + path);
  }
  std::printf("%.6f %lld\n", thread_cpu_seconds(), static_cast<long long>(total));
}

// What receiving bytes and writing them into a preallocated file, so many at a time, costs at
// least.
void receive(const std::string& path, int64_t megabytes, size_t chunk_size) {
  const int64_t wanted = megabytes << 20;
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (file < 0 || ::fallocate(file, FALLOC_FL_KEEP_SIZE, 0, wanted) != 0) {
    die("cannot make " + path);
  }
  const auto chunks = wanted / static_cast<int64_t>(chunk_size);
  const Loopback loopback([chunks, chunk_size](Connection& connection) {
    const std::vector<uint8_t> chunk(chunk_size, 'v');
    for (int64_t sent = 0; sent < chunks; ++sent) {
      connection.send(chunk);
    }
  });
  std::vector<uint8_t> buffer(chunk_size);
  const auto size = static_cast<ssize_t>(chunk_size);
  for (int64_t done = 0; done < chunks; ++done) {
    if (::recv(loopback.fd(), buffer.data(), chunk_size, MSG_WAITALL) != size ||
        ::pwrite(file, buffer.data(), chunk_size, done * size) != size) {
      die("the transfer broke off");
    }
  }
  ::unlink(path.c_str());
  std::printf("%.6f %lld\n", thread_cpu_seconds(), static_cast<long long>(chunks) * size);
}

FetchRequest fetch_request(const std::string& topic, const std::map<int, int64_t>& offsets,
                           int32_t wait_ms) {
  FetchRequest request;
  request.max_wait_ms = wait_ms;
  request.min_bytes = 1;
  request.max_bytes = 50 << 20;
  auto& out = request.topics.emplace_back();
  out.topic = topic;
  for (const auto& [partition, offset] : offsets) {
    out.partitions.push_back(
        {.partition = partition, .fetch_offset = offset, .partition_max_bytes = 1 << 20});
  }
  return request;
}

// Moves the offsets behind the batches that came whole; returns the bytes.
int64_t advance(const FetchResponse& response, std::map<int, int64_t>& offsets) {
  int64_t bytes = 0;
  for (const auto& topic : response.responses) {
    for (const auto& partition : topic.partitions) {
      if (partition.error_code != klamm::ErrorCode::kNone) {
        die("a fetch failed: " + std::string(name_of(partition.error_code)));
      }
      const Bytes records = partition.records ? partition.records->bytes() : Bytes();
      std::span<const uint8_t> left = records.span();
      while (const auto batch = left.size() < 17 ? klamm::Result<BatchView>(
                                                       klamm::fail(klamm::ErrorCode::kNone, ""))
                                                 : BatchView::parse(left)) {
        offsets[partition.partition_index] = batch->next_offset();
        bytes += static_cast<int64_t>(batch->size());
        left = left.subspan(batch->size());
      }
    }
  }
  return bytes;
}

void fetch(int port, const std::string& topic, int partitions) {
  Connection connection(port);
  std::map<int, int64_t> offsets;
  for (int i = 0; i < partitions; ++i) {
    offsets[i] = 0;
  }
  const auto start = Clock::now();
  int64_t total = 0;
  while (true) {
    connection.send(frame(fetch_request(topic, offsets, 0), 11).span());
    const int64_t bytes = advance(answer<FetchResponse>(connection, 11), offsets);
    if (bytes == 0) {
      break;
    }
    total += bytes;
  }
  std::printf("%.6f %lld\n", seconds_since(start), static_cast<long long>(total));
}

// Of a field of /proc/meminfo.
size_t megabytes_of(const std::string& field) {
  std::ifstream info("/proc/meminfo");
  for (std::string name, unit; info >> name;) {
    size_t kilobytes = 0;
    info >> kilobytes;
    if (name == field + ":") {
      return kilobytes >> 10;
    }
    std::getline(info, unit);
  }
  die("no " + field + " in /proc/meminfo");
}

// On a virtual machine the first touch of a page costs time that is the host's. With the rest of
// the memory held, the page cache uses pages again that it has had before, as it does on a machine
// that has run for a while.
void hold(size_t megabytes_left) {
  const size_t free = megabytes_of("MemFree");
  const std::vector<uint8_t> memory((free - std::min(free, megabytes_left)) << 20, 1);
  std::printf("%zu\n", memory.size() >> 20);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
}

void ready(int port, const std::string& topic, int partitions) {
  ListOffsetsRequest request;
  request.replica_id = -1;
  auto& asked = request.topics.emplace_back();
  asked.name = topic;
  for (int i = 0; i < partitions; ++i) {
    asked.partitions.push_back({.partition_index = i, .timestamp = -1});
  }
  const Bytes bytes = frame(request, 5);
  bool all = false;
  while (!all) {
    Connection connection(port);
    connection.send(bytes.span());
    const auto response = answer<ListOffsetsResponse>(connection, 5);
    const auto& told = response.topics.at(0).partitions;
    all = std::all_of(told.begin(), told.end(), [](const auto& partition) {
      return partition.error_code == klamm::ErrorCode::kNone && partition.offset >= 0;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(all ? 0 : 5));
  }
  std::printf("1\n");
}

void latency(int port, const std::string& topic, int rate, int seconds) {
  std::vector<double> delays;
  const int count = rate * seconds;
  std::vector<Clock::time_point> sent(static_cast<size_t>(count));
  std::thread reader([&] {
    Connection connection(port);
    std::map<int, int64_t> offsets = {{0, 0}};
    int64_t seen = 0;
    while (seen < count) {
      connection.send(frame(fetch_request(topic, offsets, 500), 11).span());
      advance(answer<FetchResponse>(connection, 11), offsets);
      const auto now = Clock::now();
      for (; seen < offsets[0]; ++seen) {
        delays.push_back(
            std::chrono::duration<double, std::milli>(now - sent[static_cast<size_t>(seen)])
                .count());
      }
    }
  });
  Connection connection(port);
  const Bytes request = produce_frame(topic, 0, -1, make_batch(1024, 1024));
  const auto start = Clock::now();
  for (int i = 0; i < count; ++i) {
    std::this_thread::sleep_until(start + std::chrono::microseconds(1'000'000LL * i / rate));
    sent[static_cast<size_t>(i)] = Clock::now();
    connection.send(request.span());
    check(answer<ProduceResponse>(connection, 9));
  }
  reader.join();
  std::sort(delays.begin(), delays.end());
  const auto at = [&](double q) {
    return delays[static_cast<size_t>(q * static_cast<double>(delays.size() - 1))];
  };
  std::printf("%.4f %.4f %.4f\n", at(0.5), at(0.99), at(0.999));
}

void requests(int port, int connections, int seconds) {
  ask_again(port, connections, frame(ApiVersionsRequest{}, 0), seconds,
            [](Connection& connection) { connection.receive(); });
}

void idle(int port, int connections) {
  std::vector<Connection> all;
  const Bytes request = frame(ApiVersionsRequest{}, 0);
  for (int i = 0; i < connections; ++i) {
    all.emplace_back(port);
    all.back().send(request.span());
    all.back().receive();
  }
  std::printf("ready\n");
  std::fflush(stdout);
  char byte = 0;
  while (::read(0, &byte, 1) > 0) {
  }
}

// A member of a classic group, as its answers move it: it joins, is told its part, and heartbeats.
class Member {
 public:
  Member(int port, std::string group) : connection_(port), group_(std::move(group)) {}

  int fd() const { return connection_.fd(); }
  // The generation whose assignment it has, or 0.
  int32_t settled() const { return state_ == State::kSettled ? generation_ : 0; }

  void join() {
    // ConsumerProtocolSubscription, version 0: topics, user data.
    static const std::string kSubscription("\0\0\0\0\0\1\0\7members\xff\xff\xff\xff", 19);
    JoinGroupRequest request;
    request.group_id = group_;
    request.session_timeout_ms = 10'000;
    request.rebalance_timeout_ms = 30'000;
    request.member_id = id_;
    request.protocol_type = "consumer";
    request.protocols.push_back({.name = "range", .metadata = Bytes::copy_of(kSubscription)});
    connection_.send(frame(request, 5).span());
    state_ = State::kJoining;
  }
  void take_answer() {
    switch (state_) {
      case State::kJoining: return take_join(answer<JoinGroupResponse>(connection_, 5));
      case State::kSyncing: {
        const auto response = answer<SyncGroupResponse>(connection_, 3);
        if (response.error_code != klamm::ErrorCode::kNone) {
          return join();
        }
        state_ = State::kSettled;
        next_beat_ = Clock::now() + kHeartbeat;
        return;
      }
      case State::kSettled:
        asked_ = false;
        if (answer<HeartbeatResponse>(connection_, 3).error_code != klamm::ErrorCode::kNone) {
          join();
        }
    }
  }
  void beat_when_due() {
    if (state_ != State::kSettled || asked_ || Clock::now() < next_beat_) {
      return;
    }
    HeartbeatRequest request;
    request.group_id = group_;
    request.generation_id = generation_;
    request.member_id = id_;
    connection_.send(frame(request, 3).span());
    asked_ = true;
    next_beat_ += kHeartbeat;
  }

 private:
  static constexpr std::chrono::milliseconds kHeartbeat{3'000};  // kafka-clients' default
  enum class State { kJoining, kSyncing, kSettled };

  void take_join(const JoinGroupResponse& response) {
    if (!response.member_id.empty()) {
      id_ = response.member_id;
    }
    if (response.error_code != klamm::ErrorCode::kNone) {
      return join();
    }
    generation_ = response.generation_id;
    SyncGroupRequest request;
    request.group_id = group_;
    request.generation_id = generation_;
    request.member_id = id_;
    for (const auto& member : response.members) {  // told to the leader alone
      request.assignments.push_back(
          {.member_id = member.member_id, .assignment = Bytes::copy_of(id_)});
    }
    connection_.send(frame(request, 3).span());
    state_ = State::kSyncing;
  }

  Connection connection_;
  std::string group_;
  std::string id_;
  int32_t generation_ = 0;
  State state_ = State::kJoining;
  bool asked_ = false;  // a heartbeat is on its way
  Clock::time_point next_beat_;
};

// Seconds until members that come at once are all settled in one generation.
void members(int port, const std::string& group, int count) {
  std::vector<Member> all;
  std::vector<pollfd> polls;
  for (int i = 0; i < count; ++i) {
    all.emplace_back(port, group);
    polls.push_back({all.back().fd(), POLLIN, 0});
  }
  const auto start = Clock::now();
  for (Member& member : all) {
    member.join();
  }
  const auto is_settled = [&] {
    return std::ranges::all_of(all, [&](const Member& member) {
      return member.settled() != 0 && member.settled() == all.front().settled();
    });
  };
  while (!is_settled()) {
    ::poll(polls.data(), polls.size(), 10);
    for (size_t i = 0; i < polls.size(); ++i) {
      if ((polls[i].revents & POLLIN) != 0) {
        all[i].take_answer();
      }
      all[i].beat_when_due();
    }
  }
  std::printf("%.6f\n", seconds_since(start));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  const auto number = [&](size_t i) { return std::stoi(args.at(i)); };
  if (args.size() < 2) {
    die("see the head of bench_client.cc for the arguments");
  }
  const std::string& mode = args[0];
  if (mode == "produce") {
    produce(number(1), args.at(2), number(3), static_cast<int16_t>(number(4)), number(5),
            static_cast<size_t>(number(6)), static_cast<size_t>(number(7)));
  } else if (mode == "keyed") {
    keyed(number(1), args.at(2), number(3));
  } else if (mode == "synced") {
    synced(number(1), args.at(2), number(3), number(4));
  } else if (mode == "ready") {
    ready(number(1), args.at(2), number(3));
  } else if (mode == "hold") {
    hold(static_cast<size_t>(number(1)));
  } else if (mode == "transfer") {
    transfer(args.at(1));
  } else if (mode == "receive") {
    receive(args.at(1), number(2), static_cast<size_t>(number(3)));
  } else if (mode == "fetch") {
    fetch(number(1), args.at(2), number(3));
  } else if (mode == "latency") {
    latency(number(1), args.at(2), number(3), number(4));
  } else if (mode == "requests") {
    requests(number(1), number(2), number(3));
  } else if (mode == "idle") {
    idle(number(1), number(2));
  } else if (mode == "members") {
    members(number(1), args.at(2), number(3));
  } else {
    die("unknown mode " + mode);
  }
  return 0;
}
