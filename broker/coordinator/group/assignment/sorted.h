#pragma once
// Sets and maps in one piece of memory, for what groups keep of each partition: a coordinator of
// many groups has millions of them, and they mostly come in order.
#include <algorithm>
#include <initializer_list>
#include <stdexcept>
#include <utility>
#include <vector>

namespace klamm::broker {

// As std::set, but what is inserted or erased moves what is behind it, and iterators go with it.
template <class T>
class SortedSet {
 public:
  using value_type = T;
  using const_iterator = typename std::vector<T>::const_iterator;
  using iterator = const_iterator;

  SortedSet() = default;
  SortedSet(std::initializer_list<T> values) : SortedSet(values.begin(), values.end()) {}
  template <class It>
  SortedSet(It first, It last) : values_(first, last) {
    std::ranges::sort(values_);
    values_.erase(std::ranges::unique(values_).begin(), values_.end());
  }

  const_iterator begin() const { return values_.begin(); }
  const_iterator end() const { return values_.end(); }
  size_t size() const { return values_.size(); }
  bool empty() const { return values_.empty(); }
  bool contains(const T& value) const { return std::ranges::binary_search(values_, value); }
  bool operator==(const SortedSet&) const = default;

  void insert(const T& value) {
    if (values_.empty() || values_.back() < value) {
      values_.push_back(value);
    } else if (const auto at = std::ranges::lower_bound(values_, value); *at != value) {
      values_.insert(at, value);
    }
  }
  template <class It>
  void insert(It first, It last) {
    for (; first != last; ++first) {
      insert(*first);
    }
  }
  size_t erase(const T& value) {
    const auto range = std::ranges::equal_range(values_, value);
    const size_t count = range.size();
    values_.erase(range.begin(), range.end());
    return count;
  }

 private:
  std::vector<T> values_;
};

// As std::map, in the same way; keys must not be changed through iterators.
template <class K, class V>
class SortedMap {
 public:
  using value_type = std::pair<K, V>;
  using iterator = typename std::vector<value_type>::iterator;
  using const_iterator = typename std::vector<value_type>::const_iterator;

  SortedMap() = default;
  SortedMap(std::initializer_list<value_type> values) {
    for (const auto& [key, value] : values) {
      (*this)[key] = value;
    }
  }

  iterator begin() { return values_.begin(); }
  iterator end() { return values_.end(); }
  const_iterator begin() const { return values_.begin(); }
  const_iterator end() const { return values_.end(); }
  size_t size() const { return values_.size(); }
  bool empty() const { return values_.empty(); }
  bool contains(const K& key) const { return find(key) != end(); }
  bool operator==(const SortedMap&) const = default;

  const_iterator find(const K& key) const {
    const auto at = std::ranges::lower_bound(values_, key, {}, &value_type::first);
    return at != values_.end() && at->first == key ? at : values_.end();
  }
  const V& at(const K& key) const {
    const auto found = find(key);
    return found == end() ? throw std::out_of_range("no such key") : found->second;
  }
  V& operator[](const K& key) {
    if (values_.empty() || values_.back().first < key) {
      return values_.emplace_back(key, V{}).second;
    }
    const auto at = std::ranges::lower_bound(values_, key, {}, &value_type::first);
    return at->first == key ? at->second : values_.emplace(at, key, V{})->second;
  }
  // Those that are there already stay.
  template <class It>
  void insert(It first, It last) {
    for (; first != last; ++first) {
      if (!contains(first->first)) {
        (*this)[first->first] = first->second;
      }
    }
  }

 private:
  std::vector<value_type> values_;
};

}  // namespace klamm::broker
