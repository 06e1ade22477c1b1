#include "comm/thread_transport.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace trireme::comm {
namespace {

struct Letter {
  Message message;
  int owner = 0;
  std::atomic<bool> done{false};
  std::size_t peer_bytes = 0;  // what the other side had in mind; written before done
};
using LetterPtr = std::shared_ptr<Letter>;

/// Unmatched letters between one sender and the box's owner with one tag; one of the two lists is
/// empty.
struct Pigeonhole {
  std::deque<LetterPtr> sends, receives;
};

struct Box {
  std::mutex mutex;
  std::map<std::pair<int, int>, Pigeonhole> holes;  // by (sender, tag)
};

/// Counts what happened to a rank, so that its thread can sleep until something does.
struct Bell {
  std::mutex mutex;
  std::condition_variable rung;
  int64_t rings = 0;

  void ring() {
    {
      const std::lock_guard lock(mutex);
      ++rings;
    }
    rung.notify_all();
  }
};

}  // namespace

class PostOffice {
 public:
  explicit PostOffice(int size)
      : boxes(static_cast<std::size_t>(size)), bells(static_cast<std::size_t>(size)) {}

  void post(const LetterPtr& letter) {
    const bool sending = letter->message.way == Message::Way::send;
    const int receiver = sending ? letter->message.peer : letter->owner;
    const int sender = sending ? letter->owner : letter->message.peer;
    Box& box = boxes.at(static_cast<std::size_t>(receiver));
    LetterPtr other;
    {
      const std::lock_guard lock(box.mutex);
      Pigeonhole& hole = box.holes[{sender, letter->message.tag}];
      auto& waiting = sending ? hole.receives : hole.sends;
      if (waiting.empty()) {
        (sending ? hole.sends : hole.receives).push_back(letter);
        return;
      }
      other = waiting.front();
      waiting.pop_front();
      // Copied under the box's lock: a letter that was withdrawn is never touched again.
      const Message& from = sending ? letter->message : other->message;
      const Message& to = sending ? other->message : letter->message;
      const std::size_t bytes = std::min(from.bytes, to.bytes);
      if (bytes > 0) std::memcpy(to.data, from.data, bytes);
      letter->peer_bytes = other->message.bytes;
      other->peer_bytes = letter->message.bytes;
      letter->done.store(true, std::memory_order_release);
      other->done.store(true, std::memory_order_release);
    }
    bells.at(static_cast<std::size_t>(other->owner)).ring();
    bells.at(static_cast<std::size_t>(letter->owner)).ring();
  }

  void withdraw(const LetterPtr& letter) {
    const bool sending = letter->message.way == Message::Way::send;
    const int receiver = sending ? letter->message.peer : letter->owner;
    const int sender = sending ? letter->owner : letter->message.peer;
    Box& box = boxes.at(static_cast<std::size_t>(receiver));
    const std::lock_guard lock(box.mutex);
    Pigeonhole& hole = box.holes[{sender, letter->message.tag}];
    std::erase(sending ? hole.sends : hole.receives, letter);
  }

  std::vector<Box> boxes;
  std::vector<Bell> bells;
};

namespace {

class ThreadFlight final : public Flight {
 public:
  ThreadFlight(PostOffice& office, std::vector<LetterPtr> letters)
      : office_(office), letters_(std::move(letters)) {}
  ~ThreadFlight() override {
    for (const LetterPtr& letter : letters_)
      if (!letter->done.load(std::memory_order_acquire)) office_.withdraw(letter);
  }

  bool landed() override {
    for (; next_ < letters_.size(); ++next_) {
      const Letter& letter = *letters_[next_];
      if (!letter.done.load(std::memory_order_acquire)) return false;
      if (letter.peer_bytes == letter.message.bytes) continue;
      throw Error(ErrorKind::ranks_differ,
                  "rank " + std::to_string(letter.owner) + " and rank " +
                      std::to_string(letter.message.peer) + " exchange messages of " +
                      std::to_string(letter.message.bytes) + " and " +
                      std::to_string(letter.peer_bytes) + " bytes",
                  "all ranks must call the same operations with the same sizes in the same order");
    }
    return true;
  }

  std::vector<int> missing() override {
    for (const auto way : {Message::Way::receive, Message::Way::send}) {
      std::vector<int> peers;
      for (const LetterPtr& letter : letters_)
        if (!letter->done && letter->message.way == way) peers.push_back(letter->message.peer);
      if (peers.empty()) continue;
      std::sort(peers.begin(), peers.end());
      peers.erase(std::unique(peers.begin(), peers.end()), peers.end());
      return peers;
    }
    return {};
  }

 private:
  PostOffice& office_;
  std::vector<LetterPtr> letters_;
  std::size_t next_ = 0;
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<PostOffice> office, int rank)
      : office_(std::move(office)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(office_->boxes.size()); }
  std::size_t longest() const override { return std::numeric_limits<std::size_t>::max(); }

  std::unique_ptr<Flight> launch(std::span<const Message> messages) override {
    std::vector<LetterPtr> letters;
    letters.reserve(messages.size());
    for (const Message& message : messages) {
      auto letter = std::make_shared<Letter>();
      letter->message = message;
      letter->owner = rank_;
      letters.push_back(std::move(letter));
    }
    for (const LetterPtr& letter : letters) office_->post(letter);
    return std::make_unique<ThreadFlight>(*office_, std::move(letters));
  }

  void bury(std::unique_ptr<Flight> flight, std::shared_ptr<void> /*memory*/) override {
    flight.reset();  // withdraws its letters
  }

  void pause(int /*round*/) override {
    Bell& own = bell();
    std::unique_lock lock(own.mutex);
    own.rung.wait_for(lock, std::chrono::milliseconds(10), [&] { return own.rings != heard_; });
    heard_ = own.rings;
  }
  void wake() override { bell().ring(); }
  void finalize() override {}

 private:
  Bell& bell() { return office_->bells.at(static_cast<std::size_t>(rank_)); }

  std::shared_ptr<PostOffice> office_;
  int rank_;
  int64_t heard_ = 0;
};

}  // namespace

std::shared_ptr<PostOffice> make_post_office(int size) {
  return std::make_shared<PostOffice>(size);
}

std::unique_ptr<Transport> make_thread_transport(std::shared_ptr<PostOffice> office, int rank) {
  return std::make_unique<ThreadTransport>(std::move(office), rank);
}

}  // namespace trireme::comm
