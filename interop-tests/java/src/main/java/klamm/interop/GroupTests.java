package klamm.interop;

import static klamm.interop.Suite.admin;
import static klamm.interop.Suite.check;
import static klamm.interop.Suite.consumer;
import static klamm.interop.Suite.create;
import static klamm.interop.Suite.ctl;
import static klamm.interop.Suite.equal;
import static klamm.interop.Suite.eventually;
import static klamm.interop.Suite.name;
import static klamm.interop.Suite.produce;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;

/** The consumer protocol (KIP-848) as kafka-clients speak it. */
final class GroupTests {
  private GroupTests() {}

  static Map<String, Suite.Test> all() {
    Map<String, Suite.Test> tests = new LinkedHashMap<>();
    tests.put("a_consumer_group_resumes_over_stop_and_kill", GroupTests::resumes);
    tests.put("members_of_a_consumer_group_share_and_one_leaves", GroupTests::shares);
    tests.put("a_consumer_group_follows_a_regular_expression", GroupTests::pattern);
    tests.put("a_static_member_of_a_consumer_group_comes_back", GroupTests::staticMember);
    tests.put("a_group_changes_protocols_while_it_works", GroupTests::migration);
    tests.put("fifty_members_join_and_leave_under_load", GroupTests::crowd);
    tests.put("consumer_groups_are_listed_and_described", GroupTests::described);
    return tests;
  }

  /** A consumer of the new protocol. */
  private static KafkaConsumer<String, String> member(String group, String... config) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", Suite.bootstrap());
    properties.put("group.id", group);
    properties.put("group.protocol", "consumer");
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    for (int i = 0; i < config.length; i += 2) {
      properties.put(config[i], config[i + 1]);
    }
    return new KafkaConsumer<>(properties);
  }

  private static void pollUntil(Collection<KafkaConsumer<String, String>> consumers, BooleanSupplier done, String what)
      throws Exception {
    eventually(() -> {
      consumers.forEach(c -> c.poll(Duration.ofMillis(20)));
      return done.getAsBoolean();
    }, what);
  }

  static void resumes() throws Exception {
    String topic = name(), group = name();
    create(topic, 4, Map.of());
    produce(topic, 0, 40);
    int read = 0;
    for (String how : List.of("stop", "kill", "")) {
      try (var c = member(group)) {
        c.subscribe(List.of(topic));
        int[] got = {0};
        eventually(() -> {
          for (ConsumerRecord<String, String> ignored : c.poll(Duration.ofMillis(100))) {
            got[0]++;
          }
          return got[0] >= 40;
        }, "40 records");
        equal(got[0], 40);
        c.commitSync();
        read += got[0];
        if (!how.isEmpty()) {
          ctl(how);
          ctl("start");
          // The session goes on under the restarted coordinator.
          produce(topic, read, read + 40);
          got[0] = 0;
          eventually(() -> {
            for (ConsumerRecord<String, String> ignored : c.poll(Duration.ofMillis(100))) {
              got[0]++;
            }
            return got[0] >= 40;
          }, "40 records after the restart");
          equal(got[0], 40);
          c.commitSync();
          read += 40;
          produce(topic, read, read + 40);
        }
      }
    }
  }

  static void shares() throws Exception {
    String topic = name(), group = name();
    create(topic, 7, Map.of());
    List<KafkaConsumer<String, String>> members = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      var c = member(group, "group.remote.assignor", i == 0 ? "range" : "uniform");
      c.subscribe(List.of(topic));
      members.add(c);
    }
    pollUntil(members, () -> members.stream().allMatch(c -> c.assignment().size() >= 2)
        && members.stream().mapToInt(c -> c.assignment().size()).sum() == 7, "2 or 3 partitions for each");
    members.remove(1).close();
    pollUntil(members, () -> members.stream().mapToInt(c -> c.assignment().size()).sum() == 7, "all partitions for two");
    members.forEach(KafkaConsumer::close);
  }

  static void pattern() throws Exception {
    String stem = name(), group = name();
    create(stem + "-1", 2, Map.of());
    create("other-" + stem, 1, Map.of());
    try (var c = member(group, "metadata.max.age.ms", "500")) {
      c.subscribe(new SubscriptionPattern(stem + "-.*"));
      pollUntil(List.of(c), () -> c.assignment().size() == 2, "the topic that matches");
      create(stem + "-2", 3, Map.of());
      pollUntil(List.of(c), () -> c.assignment().size() == 5, "the topic that came");
    }
  }

  static void staticMember() throws Exception {
    String topic = name(), group = name();
    create(topic, 4, Map.of());
    try (var other = member(group)) {
      other.subscribe(List.of(topic));
      Set<TopicPartition> had;
      try (var first = member(group, "group.instance.id", "one")) {
        first.subscribe(List.of(topic));
        pollUntil(List.of(first, other), () -> first.assignment().size() == 2 && other.assignment().size() == 2, "two for each");
        had = Set.copyOf(first.assignment());
      }
      try (var again = member(group, "group.instance.id", "one")) {
        again.subscribe(List.of(topic));
        pollUntil(List.of(again, other), () -> again.assignment().equals(had), "what it had");
        equal(other.assignment().size(), 2);
      }
    }
  }

  /** Classic members are replaced by new ones, one at a time, and back; every record is read, by commits exactly once. */
  static void migration() throws Exception {
    String topic = name(), group = name();
    create(topic, 6, Map.of());
    Map<String, Integer> seen = new ConcurrentHashMap<>();
    List<KafkaConsumer<String, String>> members = new ArrayList<>();
    Runnable pollAll = () -> members.forEach(c -> {
      for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(20))) {
        seen.merge(r.value(), 1, Integer::sum);
      }
    });
    int[] produced = {0};
    Suite.Test more = () -> {
      produce(topic, produced[0], produced[0] + 60);
      produced[0] += 60;
      eventually(() -> {
        pollAll.run();
        return seen.size() == produced[0] && members.stream().mapToInt(c -> c.assignment().size()).sum() == 6;
      }, produced[0] + " records");
      members.forEach(KafkaConsumer::commitSync);
    };
    String[] classic = {"session.timeout.ms", "10000", "heartbeat.interval.ms", "500",
        "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"};
    for (boolean fresh : new boolean[] {false, false, true, true, false, false}) {
      var c = fresh ? member(group) : consumer(group, classic);
      c.subscribe(List.of(topic));
      members.add(c);
      more.run();
      if (members.size() > 2) {
        members.remove(0).close();
        more.run();
      }
    }
    members.forEach(KafkaConsumer::close);
    equal(seen.size(), produced[0]);
  }

  static void crowd() throws Exception {
    String topic = name(), group = name();
    create(topic, 60, Map.of());
    Set<String> seen = ConcurrentHashMap.newKeySet();
    AtomicInteger produced = new AtomicInteger();
    AtomicBoolean stop = new AtomicBoolean();
    List<Throwable> problems = new CopyOnWriteArrayList<>();
    Map<Integer, Integer> assigned = new ConcurrentHashMap<>();
    List<Thread> threads = new ArrayList<>();
    List<AtomicBoolean> leave = new ArrayList<>();
    for (int i = 0; i < 50; i++) {
      int index = i;
      AtomicBoolean go = new AtomicBoolean();
      leave.add(go);
      threads.add(new Thread(() -> {
        try (var c = member(group, "max.poll.records", "100", "fetch.max.wait.ms", "200")) {
          c.subscribe(List.of(topic));
          while (!stop.get() && !go.get()) {
            for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(100))) {
              seen.add(r.value());
            }
            assigned.put(index, c.assignment().size());
          }
        } catch (Throwable problem) {
          problems.add(problem);
        }
        assigned.remove(index);
      }));
    }
    threads.forEach(Thread::start);
    try {
      eventually(() -> {
        produceMore(topic, produced);
        return assigned.values().stream().mapToInt(n -> n).sum() == 60 && assigned.values().stream().filter(n -> n > 0).count() == 50;
      }, "partitions for 50 members");
      for (int i = 0; i < 25; i++) {
        leave.get(i).set(true);
      }
      eventually(() -> {
        produceMore(topic, produced);
        return assigned.size() == 25 && assigned.values().stream().mapToInt(n -> n).sum() == 60;
      }, "all partitions for those who stay");
      eventually(() -> seen.size() == produced.get(), "every record");
    } finally {
      stop.set(true);
      for (Thread thread : threads) {
        thread.join();
      }
    }
    check(problems.isEmpty(), "problems: " + problems);
  }

  private static void produceMore(String topic, AtomicInteger produced) {
    try {
      produce(topic, produced.get(), produced.get() + 50);
      produced.addAndGet(50);
      Thread.sleep(100);
    } catch (Exception problem) {
      throw new IllegalStateException(problem);
    }
  }

  static void described() throws Exception {
    String topic = name(), group = name();
    create(topic, 2, Map.of());
    try (var admin = admin(); var c = member(group, "client.rack", "r1")) {
      c.subscribe(List.of(topic));
      pollUntil(List.of(c), () -> c.assignment().size() == 2, "its partitions");
      ConsumerGroupDescription description = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
      equal(description.type(), GroupType.CONSUMER);
      equal(description.groupState().toString(), "Stable");
      equal(description.partitionAssignor(), "uniform");
      equal(description.members().iterator().next().assignment().topicPartitions().size(), 2);
      equal(description.members().iterator().next().memberEpoch().get(), description.groupEpoch().get());
      Collection<GroupListing> listed = admin.listGroups(new ListGroupsOptions().withTypes(Set.of(GroupType.CONSUMER))).all().get();
      check(listed.stream().anyMatch(g -> g.groupId().equals(group) && g.type().get() == GroupType.CONSUMER), "listed by type");
    }
  }
}
