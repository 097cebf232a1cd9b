package klamm.interop;

import static klamm.interop.Suite.admin;
import static klamm.interop.Suite.check;
import static klamm.interop.Suite.create;
import static klamm.interop.Suite.ctl;
import static klamm.interop.Suite.equal;
import static klamm.interop.Suite.eventually;
import static klamm.interop.Suite.name;
import static klamm.interop.Suite.produce;
import static klamm.interop.Suite.producer;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Function;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ListShareGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ShareGroupDescription;
import org.apache.kafka.clients.consumer.AcknowledgeType;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Share groups (KIP-932) as kafka-clients see them. */
final class ShareTests {
  private ShareTests() {}

  static Map<String, Suite.Test> all() {
    Map<String, Suite.Test> tests = new LinkedHashMap<>();
    tests.put("share_consumers_divide_the_records_of_one_partition", ShareTests::divide);
    tests.put("what_is_released_comes_again_and_what_is_rejected_does_not", ShareTests::outcomes);
    tests.put("records_are_archived_after_their_last_delivery", ShareTests::poison);
    tests.put("a_lock_that_runs_out_gives_records_to_others", ShareTests::locks);
    tests.put("a_share_group_goes_on_over_stop_and_kill", ShareTests::resumes);
    tests.put("share_groups_read_committed_where_they_are_told_to", ShareTests::committed);
    tests.put("share_groups_are_described_altered_and_deleted", ShareTests::described);
    return tests;
  }

  /** A consumer of a share group that begins at the beginning. */
  private static KafkaShareConsumer<String, String> member(String group, String topic, String... config) throws Exception {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", Suite.bootstrap());
    properties.put("group.id", group);
    properties.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    properties.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    for (int i = 0; i < config.length; i += 2) {
      properties.put(config[i], config[i + 1]);
    }
    var consumer = new KafkaShareConsumer<String, String>(properties);
    consumer.subscribe(List.of(topic));
    return consumer;
  }

  private static void configure(String group, String... config) throws Exception {
    List<AlterConfigOp> ops = new ArrayList<>();
    for (int i = 0; i < config.length; i += 2) {
      ops.add(new AlterConfigOp(new ConfigEntry(config[i], config[i + 1]), AlterConfigOp.OpType.SET));
    }
    try (var admin = admin()) {
      admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, group), ops)).all().get();
    }
  }

  private static String fromEarliest(String... more) throws Exception {
    String group = name();
    List<String> config = new ArrayList<>(List.of("share.auto.offset.reset", "earliest"));
    config.addAll(List.of(more));
    configure(group, config.toArray(new String[0]));
    return group;
  }

  static void divide() throws Exception {
    String topic = name(), group = fromEarliest();
    create(topic, 1, Map.of());
    Map<String, Integer> seen = new ConcurrentHashMap<>();
    Map<Integer, Integer> each = new ConcurrentHashMap<>();
    AtomicBoolean stop = new AtomicBoolean();
    List<Throwable> problems = new CopyOnWriteArrayList<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      int index = i;
      threads.add(new Thread(() -> {
        try (var c = member(group, topic, "max.poll.records", "20")) {
          while (!stop.get()) {
            for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(100))) {
              seen.merge(r.value(), 1, Integer::sum);
              each.merge(index, 1, Integer::sum);
            }
          }
        } catch (Throwable problem) {
          problems.add(problem);
        }
      }));
    }
    threads.forEach(Thread::start);
    int produced = 0;
    try {
      // Until all four have come, the first may be quick enough for everything.
      for (; produced < 2_000 || (each.size() < 4 && produced < 40_000); produced += 100) {
        produce(topic, produced, produced + 100);
      }
      int all = produced;
      eventually(() -> seen.size() == all, all + " records");
    } finally {
      stop.set(true);
      for (Thread thread : threads) {
        thread.join();
      }
    }
    check(problems.isEmpty(), "problems: " + problems);
    equal(seen.values().stream().filter(n -> n != 1).count(), 0L);
    equal(each.size(), 4);
  }

  /** Polls until `count` records have come, each of which is acknowledged as told. */
  private static List<String> take(KafkaShareConsumer<String, String> c, int count, Function<ConsumerRecord<String, String>, AcknowledgeType> say)
      throws Exception {
    List<String> got = new ArrayList<>();
    eventually(() -> {
      for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(100))) {
        got.add(r.value() + "@" + r.deliveryCount().get());
        c.acknowledge(r, say.apply(r));
      }
      c.commitSync().values().forEach(problem -> check(problem.isEmpty(), "commit: " + problem));
      return got.size() >= count;
    }, count + " records");
    return got;
  }

  static void outcomes() throws Exception {
    String topic = name(), group = fromEarliest();
    create(topic, 1, Map.of());
    produce(topic, 0, 6);
    try (var c = member(group, topic, "share.acknowledgement.mode", "explicit")) {
      List<String> first = take(c, 6, r -> r.offset() % 3 == 0 ? AcknowledgeType.RELEASE : r.offset() % 3 == 1 ? AcknowledgeType.ACCEPT : AcknowledgeType.REJECT);
      equal(first.size(), 6);
      List<String> again = take(c, 2, r -> AcknowledgeType.ACCEPT);
      equal(again.size(), 2);
      check(again.stream().allMatch(value -> value.endsWith("@2")), "delivered twice: " + again);
      produce(topic, 6, 7);
      List<String> last = take(c, 1, r -> AcknowledgeType.ACCEPT);
      check(last.size() == 1 && last.get(0).endsWith("@1"), "nothing else came: " + last);
    }
  }

  static void poison() throws Exception {
    String topic = name(), group = fromEarliest("share.delivery.count.limit", "3");
    create(topic, 1, Map.of());
    produce(topic, 0, 1);
    try (var c = member(group, topic, "share.acknowledgement.mode", "explicit")) {
      equal(take(c, 3, r -> AcknowledgeType.RELEASE).stream().map(v -> v.substring(v.indexOf('@'))).toList(), List.of("@1", "@2", "@3"));
      produce(topic, 1, 2);
      List<String> next = take(c, 1, r -> AcknowledgeType.ACCEPT);
      check(next.get(0).endsWith("@1"), "the one behind it: " + next);
    }
  }

  static void locks() throws Exception {
    String topic = name(), group = fromEarliest("share.record.lock.duration.ms", "15000");
    create(topic, 1, Map.of());
    produce(topic, 0, 10);
    Map<String, Integer> byFirst = new TreeMap<>(), bySecond = new TreeMap<>();
    try (var idle = member(group, topic, "share.acknowledgement.mode", "explicit"); var busy = member(group, topic)) {
      eventually(() -> {
        idle.poll(Duration.ofMillis(100)).forEach(r -> byFirst.merge(r.value(), 1, Integer::sum));
        return byFirst.size() == 10;
      }, "10 records");
      long since = System.nanoTime();
      eventually(() -> {
        busy.poll(Duration.ofMillis(100)).forEach(r -> bySecond.merge(r.value(), (int) r.deliveryCount().get(), Integer::sum));
        return bySecond.size() == 10;
      }, "the same records for another");
      check(System.nanoTime() - since > 8_000_000_000L, "not before the lock had run out");
      check(bySecond.values().stream().allMatch(n -> n == 2), "delivered for the second time: " + bySecond);
    }
  }

  static void resumes() throws Exception {
    String topic = name(), group = fromEarliest();
    create(topic, 3, Map.of());
    Map<String, Integer> seen = new ConcurrentHashMap<>();
    int produced = 0;
    for (String how : List.of("stop", "kill", "")) {
      produce(topic, produced, produced + 30);
      produced += 30;
      int all = produced;
      try (var c = member(group, topic)) {
        eventually(() -> {
          c.poll(Duration.ofMillis(100)).forEach(r -> seen.merge(r.value(), 1, Integer::sum));
          c.commitSync();
          return seen.size() >= all;
        }, all + " records");
        if (!how.isEmpty()) {
          ctl(how);
          ctl("start");
          produce(topic, produced, produced + 30);
          produced += 30;
          int more = produced;
          eventually(() -> {
            c.poll(Duration.ofMillis(100)).forEach(r -> seen.merge(r.value(), 1, Integer::sum));
            c.commitSync();
            return seen.size() >= more;
          }, more + " records after the restart");
        }
      }
    }
    equal(seen.size(), produced);
    equal(seen.values().stream().filter(n -> n != 1).count(), 0L);
  }

  static void committed() throws Exception {
    String topic = name(), group = fromEarliest("share.isolation.level", "read_committed");
    create(topic, 1, Map.of());
    try (var p = producer("transactional.id", name(), "linger.ms", "0")) {
      p.initTransactions();
      for (String what : List.of("c1", "a1", "c2", "a2", "c3")) {
        p.beginTransaction();
        for (int i = 0; i < 3; i++) {
          p.send(new ProducerRecord<>(topic, what + i));
        }
        p.flush();
        if (what.startsWith("c")) {
          p.commitTransaction();
        } else {
          p.abortTransaction();
        }
      }
    }
    Set<String> seen = ConcurrentHashMap.newKeySet();
    try (var c = member(group, topic)) {
      eventually(() -> {
        c.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.value()));
        return seen.size() >= 9;
      }, "9 committed records");
      for (int i = 0; i < 5; i++) {
        c.poll(Duration.ofMillis(100)).forEach(r -> seen.add(r.value()));
      }
    }
    equal(seen, Set.of("c10", "c11", "c12", "c20", "c21", "c22", "c30", "c31", "c32"));
  }

  static void described() throws Exception {
    String topic = name(), group = fromEarliest();
    create(topic, 2, Map.of());
    produce(topic, 0, 20);
    TopicPartition first = new TopicPartition(topic, 0);
    try (var admin = admin()) {
      try (var c = member(group, topic)) {
        int[] got = {0};
        eventually(() -> {
          got[0] += c.poll(Duration.ofMillis(100)).count();
          c.commitSync();
          return got[0] >= 20;
        }, "20 records");
        ShareGroupDescription description = admin.describeShareGroups(List.of(group)).all().get().get(group);
        equal(description.groupState().toString(), "Stable");
        equal(description.members().size(), 1);
        equal(description.members().iterator().next().assignment().topicPartitions().size(), 2);
        check(admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group) && g.type().get().toString().equals("Share")), "listed");
      }
      var offsets = admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(group).get();
      equal(offsets.size(), 2);
      admin.alterShareGroupOffsets(group, Map.of(first, 3L)).all().get();
      equal(admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(group).get().get(first).startOffset(), 3L);
      List<Long> again = new ArrayList<>();
      try (var c = member(group, topic)) {
        eventually(() -> {
          c.poll(Duration.ofMillis(100)).forEach(r -> again.add(r.offset()));
          return again.contains(3L);
        }, "records from the new offset on");
        check(!again.contains(2L), "and none before: " + again);
      }
      admin.deleteShareGroupOffsets(group, Set.of(topic)).all().get();
      equal(admin.listShareGroupOffsets(Map.of(group, new ListShareGroupOffsetsSpec())).partitionsToOffsetInfo(group).get().size(), 0);
      admin.deleteShareGroups(List.of(group)).all().get();
      check(admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals(group)), "deleted");
    }
  }
}
