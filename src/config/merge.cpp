#include "config/merge.h"

#include <utility>

namespace trireme::config {

void merge(Node& base, Node over) {
  if (base.kind != Node::Kind::mapping || over.kind != Node::Kind::mapping) {
    base = std::move(over);
    return;
  }
  for (Member& member : over.members) {
    if (Member* existing = base.find(member.name)) {
      existing->place = member.place;
      merge(existing->value, std::move(member.value));
    } else {
      base.members.push_back(std::move(member));
    }
  }
}

}  // namespace trireme::config
