#include "broker/net/connection.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <vector>

#include "storage/env/background.h"
#include "storage/env/posix_env.h"

using namespace klamm;
using namespace klamm::broker;
using asio::ip::tcp;
using protocol::Bytes;
using protocol::Payload;
using protocol::Piece;
using protocol::Writer;

namespace {

constexpr size_t kSize = 5'000'000;

std::vector<uint8_t> pattern() {
  std::vector<uint8_t> content(kSize);
  for (size_t i = 0; i < content.size(); ++i) {
    content[i] = static_cast<uint8_t>(i * 2'654'435'761u >> 13);
  }
  return content;
}

// What is brought to its cache is gone again at once.
class ForgetfulSource : public protocol::ByteSource {
 public:
  Result<size_t> read_at(uint64_t position, std::span<uint8_t> into) const override {
    std::copy_n(content_.begin() + static_cast<ptrdiff_t>(position), into.size(), into.begin());
    return into.size();
  }
  Result<std::optional<size_t>> read_cached(uint64_t, std::span<uint8_t>) const override {
    return std::nullopt;
  }
  Result<bool> bring_to_cache(uint64_t, size_t) const override {
    if (++times_ > 100) {
      return fail(protocol::ErrorCode::kUnknownServerError, "asked for without end");
    }
    return true;
  }

 private:
  mutable int times_ = 0;
  std::vector<uint8_t> content_ = pattern();
};

// One connection that owes its client one answer, and the client.
class Exchange {
 public:
  Exchange() {
    tcp::acceptor acceptor(shard_.io(), {tcp::v6(), 0});  // of both families
    client_.connect({asio::ip::address_v4::loopback(), acceptor.local_endpoint().port()});
    tcp::socket socket = acceptor.accept();
    descriptor_ = socket.native_handle();
    connection_ =
        std::make_shared<Connection>(std::move(socket), shard_, "PLAINTEXT", ConnectionLimits{},
                                     [this](Connection&, const Bytes&, uint64_t slot) {
                                       slot_ = slot;
                                       return FrameFate::kGoOn;
                                     });
    connection_->start();
    const uint8_t request[] = {0, 0, 0, 8, 0, 1, 0, 4, 0, 0, 0, 7};
    asio::write(client_, asio::buffer(request));
    while (!slot_ && connection_->is_open()) {
      shard_.io().poll();
    }
    REQUIRE(slot_);
    client_.non_blocking(true);
  }
  ~Exchange() { connection_->close(); }

  std::string client_host() const { return connection_->client_host(); }
  std::string congestion_control() const {
    char name[16] = {};
    socklen_t size = sizeof name;
    REQUIRE(::getsockopt(descriptor_, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0);
    return name;
  }

  // All that the client gets of an answer that is `records` of a source between two bytes.
  std::vector<uint8_t> answer(std::shared_ptr<const protocol::ByteSource> source) {
    Writer frame;
    frame.fixed<int8_t>(1);
    Payload records;
    records.add({{}, std::move(source), 0, kSize});
    frame.payload(records, false);
    frame.fixed<int8_t>(2);
    const size_t size = frame.size();
    connection_->complete(*slot_, std::move(frame));
    std::vector<uint8_t> got(size);
    size_t held = 0;
    while (held < size && connection_->is_open()) {
      asio::error_code ignored;
      held += client_.read_some(asio::buffer(got.data() + held, size - held), ignored);
      shard_.io().poll();
    }
    got.resize(held);
    return got;
  }

 private:
  Timers timers_;
  std::unique_ptr<storage::Clock> clock_ = storage::make_posix_clock();
  storage::InlineBackground background_;
  Shard shard_{timers_, *clock_, background_};
  tcp::socket client_{shard_.io()};
  std::shared_ptr<Connection> connection_;
  int descriptor_ = -1;
  std::optional<uint64_t> slot_;
};

// The answer's bytes without their length and the two bytes around the records.
bool is_whole(const std::vector<uint8_t>& answer) {
  const std::vector<uint8_t> content = pattern();
  return answer.size() == kSize + 6 && answer.back() == 2 &&
         std::equal(content.begin(), content.end(), answer.begin() + 5);
}

std::shared_ptr<storage::File> file_of(const std::string& path) {
  const auto disk = storage::make_posix_disk();
  auto file = disk->open(path, storage::OpenMode::kCreateTruncated);
  REQUIRE(file.has_value());
  REQUIRE((*file)->write_at(0, pattern()).has_value());
  REQUIRE((*file)->sync().has_value());
  std::filesystem::remove(path);
  return *file;
}

}  // namespace

TEST_CASE("records leave whole from a file, whether the page cache has it, has some of it or not") {
  const std::string path =
      std::filesystem::temp_directory_path() / ("klamm-connection-" + std::to_string(::getpid()));
  const auto file = file_of(path);
  const auto descriptor = file->cached_file(0, kSize);
  REQUIRE(descriptor.has_value());
  SECTION("all") {}
  SECTION("none") { REQUIRE(::posix_fadvise(*descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0); }
  SECTION("some") {
    REQUIRE(::posix_fadvise(*descriptor, 1'000'000, 2'500'000, POSIX_FADV_DONTNEED) == 0);
  }
  CHECK(is_whole(Exchange().answer(file)));
}

TEST_CASE("records leave whole, too, when the page cache loses what was brought to it") {
  CHECK(is_whole(Exchange().answer(std::make_shared<ForgetfulSource>())));
}

TEST_CASE("a log that is cut while its records are on their way ends the connection") {
  const std::string path =
      std::filesystem::temp_directory_path() / ("klamm-connection-" + std::to_string(::getpid()));
  const auto file = file_of(path);
  REQUIRE(file->truncate(kSize - 1'000).has_value());
  CHECK(Exchange().answer(file).size() < kSize);
}

TEST_CASE("a client of this machine is known by its IPv4 address, and what it gets is not paced") {
  const Exchange exchange;
  CHECK(exchange.client_host() == "/127.0.0.1");
  CHECK(exchange.congestion_control() == "reno");
}
