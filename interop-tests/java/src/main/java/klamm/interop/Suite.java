package klamm.interop;

import java.io.File;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** kafka-clients against the broker named by BOOTSTRAP, with the stock console tools. */
public final class Suite {
  private static final String BOOTSTRAP = System.getenv().getOrDefault("BOOTSTRAP", "localhost:9092");

  static String bootstrap() {
    return BOOTSTRAP;
  }

  interface Test {
    void run() throws Exception;
  }

  public static void main(String[] args) {
    Map<String, Test> tests = new LinkedHashMap<>();
    tests.put("topics_are_created_described_grown_and_deleted", Suite::topics);
    tests.put("every_compression_round_trips", Suite::compressions);
    tests.put("offsets_by_time_and_special_offsets", Suite::offsets);
    tests.put("a_group_resumes_over_stop_and_kill", Suite::resumes);
    tests.put("two_members_share_and_one_leaves", Suite::shares);
    tests.put("a_static_member_restarts_without_rebalance", Suite::staticMember);
    tests.put("idempotent_over_a_kill", Suite::idempotentKill);
    tests.put("a_record_too_large", Suite::tooLarge);
    tests.put("an_unknown_topic", Suite::unknownTopic);
    tests.put("groups_are_listed_described_and_deleted", Suite::groups);
    tests.put("records_are_deleted", Suite::deleteRecords);
    tests.put("console_tools_carry_a_file_of_100000_lines", Suite::console);
    tests.putAll(TransactionTests.all());
    tests.putAll(GroupTests.all());
    tests.putAll(ShareTests.all());
    tests.putAll(StreamsTests.all());
    System.exit(run(tests, args));
  }

  /** The number of tests that failed. */
  private static int run(Map<String, Test> tests, String[] args) {
    int failed = 0;
    for (Map.Entry<String, Test> test : tests.entrySet()) {
      if (args.length > 0 && !List.of(args).contains(test.getKey())) {
        continue;
      }
      try {
        test.getValue().run();
        System.out.println("ok " + test.getKey());
      } catch (Throwable problem) {
        failed++;
        System.out.println("not ok " + test.getKey() + ": " + problem);
        for (Throwable cause = problem.getCause(); cause != null; cause = cause.getCause()) {
          System.out.println("   caused by " + cause);
        }
        for (StackTraceElement at : problem.getStackTrace()) {
          if (at.getClassName().startsWith("klamm")) {
            System.out.println("   at " + at);
          }
        }
      }
    }
    return failed;
  }

  // ---- helpers ----

  static String name() {
    return "t-" + UUID.randomUUID().toString().substring(0, 8);
  }

  static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  static void equal(Object got, Object want) {
    check(want.equals(got), "got " + got + ", want " + want);
  }

  static void eventually(BooleanSupplier condition, String what) throws Exception {
    long end = System.currentTimeMillis() + 40_000;
    while (!condition.getAsBoolean()) {
      check(System.currentTimeMillis() < end, what + " did not come true");
      Thread.sleep(20);
    }
  }

  static void ctl(String action) throws Exception {
    List<String> command = new ArrayList<>(List.of(System.getenv("BROKER_CTL").split(" ")));
    command.add(action);
    equal(new ProcessBuilder(command).inheritIO().start().waitFor(), 0);
  }

  static Admin admin() {
    Properties p = new Properties();
    p.put("bootstrap.servers", BOOTSTRAP);
    return Admin.create(p);
  }

  /** Until the leader of each partition answers, for a producer whose first batch is refused may lose it: see {@link #carefulProducer}. */
  static void create(String topic, int partitions, Map<String, String> configs) throws Exception {
    try (Admin admin = admin()) {
      admin.createTopics(List.of(new NewTopic(topic, Optional.of(partitions), Optional.empty()).configs(configs))).all().get();
      eventually(() -> led(admin, topic, partitions), "a leader of each partition of " + topic);
    }
  }

  /** A broker that has not heard of the topic yet says that there is none, which the admin client takes as final. */
  private static boolean led(Admin admin, String topic, int partitions) {
    try {
      admin.listOffsets(IntStream.range(0, partitions).boxed()
          .collect(Collectors.toMap(p -> new TopicPartition(topic, p), p -> OffsetSpec.latest()))).all().get();
      return true;
    } catch (ExecutionException problem) {
      if (problem.getCause() instanceof UnknownTopicOrPartitionException) {
        return false;
      }
      throw new IllegalStateException(problem.getCause());
    } catch (InterruptedException problem) {
      throw new IllegalStateException(problem);
    }
  }

  static KafkaProducer<String, String> producer(String... config) {
    Properties p = new Properties();
    p.put("bootstrap.servers", BOOTSTRAP);
    p.put("key.serializer", "org.apache.kafka.common.serialization.StringSerializer");
    p.put("value.serializer", "org.apache.kafka.common.serialization.StringSerializer");
    for (int i = 0; i < config.length; i += 2) {
      p.put(config[i], config[i + 1]);
    }
    return new KafkaProducer<>(p);
  }

  static KafkaConsumer<String, String> consumer(String group, String... config) {
    Properties p = new Properties();
    p.put("bootstrap.servers", BOOTSTRAP);
    p.put("group.id", group);
    p.put("auto.offset.reset", "earliest");
    p.put("enable.auto.commit", "false");
    p.put("session.timeout.ms", "10000");
    p.put("heartbeat.interval.ms", "500");
    p.put("key.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    p.put("value.deserializer", "org.apache.kafka.common.serialization.StringDeserializer");
    for (int i = 0; i < config.length; i += 2) {
      p.put(config[i], config[i + 1]);
    }
    return new KafkaConsumer<>(p);
  }

  /**
   * A producer of one request at a time. A leader takes whatever sequence comes first from a producer that it does not know: when it
   * refuses the very first batch, as it does before it has heard of a topic, and takes the one behind it, the client counts both as
   * written.
   */
  static KafkaProducer<String, String> carefulProducer(String... config) {
    List<String> all = new ArrayList<>(List.of("max.in.flight.requests.per.connection", "1"));
    all.addAll(List.of(config));
    return producer(all.toArray(String[]::new));
  }

  static void produce(String topic, int from, int to, String... config) throws Exception {
    try (KafkaProducer<String, String> p = carefulProducer(config)) {
      List<java.util.concurrent.Future<?>> sent = new ArrayList<>();
      for (int i = from; i < to; i++) {
        sent.add(p.send(new ProducerRecord<>(topic, "k" + i, String.valueOf(i))));
      }
      for (java.util.concurrent.Future<?> each : sent) {
        each.get();
      }
    }
  }

  static List<ConsumerRecord<String, String>> drain(KafkaConsumer<String, String> c, int count) {
    List<ConsumerRecord<String, String>> all = new ArrayList<>();
    long end = System.currentTimeMillis() + 40_000;
    while (all.size() < count && System.currentTimeMillis() < end) {
      c.poll(Duration.ofMillis(200)).forEach(all::add);
    }
    return all;
  }

  static List<ConsumerRecord<String, String>> readAll(String topic, int partitions) {
    try (KafkaConsumer<String, String> c = consumer(name())) {
      List<TopicPartition> all = IntStream.range(0, partitions).mapToObj(i -> new TopicPartition(topic, i)).collect(Collectors.toList());
      c.assign(all);
      c.seekToBeginning(all);
      long total = c.endOffsets(all).values().stream().mapToLong(Long::longValue).sum()
          - c.beginningOffsets(all).values().stream().mapToLong(Long::longValue).sum();
      return drain(c, (int) total);
    }
  }

  static Throwable failure(java.util.concurrent.Future<?> future) throws Exception {
    try {
      future.get();
      return null;
    } catch (ExecutionException e) {
      return e.getCause();
    }
  }

  private static int described(Admin admin, String topic) {
    try {
      return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size();
    } catch (InterruptedException | ExecutionException problem) {
      throw new IllegalStateException(problem);
    }
  }

  // ---- tests ----

  static void topics() throws Exception {
    String topic = name();
    create(topic, 3, Map.of("retention.ms", "5000"));
    try (Admin admin = admin()) {
      equal(described(admin, topic), 3);
      ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
      equal(admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms").value(), "5000");
      admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(7))).all().get();
      eventually(() -> described(admin, topic) == 7, "seven partitions, wherever one asks");
      check(failure(admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all()) instanceof TopicExistsException, "exists");
      admin.deleteTopics(List.of(topic)).all().get();
      eventually(() -> {
        try {
          return !admin.listTopics().names().get().contains(topic);
        } catch (Exception e) {
          return false;
        }
      }, "the deletion");
      equal(admin.describeCluster().nodes().get().size(), Integer.parseInt(System.getenv().getOrDefault("REPLICAS", "1")));
      check(admin.describeCluster().clusterId().get() != null, "cluster id");
    }
  }

  static void compressions() throws Exception {
    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      String topic = name();
      create(topic, 1, Map.of());
      long now = System.currentTimeMillis();
      try (KafkaProducer<String, String> p = producer("compression.type", codec, "linger.ms", "20")) {
        for (int i = 0; i < 500; i++) {
          ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, now - 500 + i, i % 3 == 0 ? null : "k" + i, "v".repeat(50) + i);
          record.headers().add("h", "x".getBytes(StandardCharsets.UTF_8));
          p.send(record);
        }
      }
      List<ConsumerRecord<String, String>> got = readAll(topic, 1);
      equal(got.size(), 500);
      for (int i = 0; i < 500; i++) {
        equal(got.get(i).value(), "v".repeat(50) + i);
        equal(got.get(i).timestamp(), now - 500 + i);
        check(i % 3 == 0 ? got.get(i).key() == null : got.get(i).key().equals("k" + i), "key");
        equal(new String(got.get(i).headers().lastHeader("h").value(), StandardCharsets.UTF_8), "x");
      }
    }
  }

  static void offsets() throws Exception {
    String topic = name();
    create(topic, 1, Map.of());
    long base = System.currentTimeMillis() - 1_000_000;
    try (KafkaProducer<String, String> p = producer()) {
      for (int i = 0; i < 100; i++) {
        p.send(new ProducerRecord<>(topic, 0, base + (i == 50 ? 900_000 : i * 1000L), "k", "v")).get();
      }
    }
    TopicPartition at = new TopicPartition(topic, 0);
    try (KafkaConsumer<String, String> c = consumer(name()); Admin admin = admin()) {
      equal(c.offsetsForTimes(Map.of(at, base + 41_500)).get(at).offset(), 42L);
      check(c.offsetsForTimes(Map.of(at, base + 10_000_000)).get(at) == null, "beyond the end");
      c.assign(List.of(at));
      c.seek(at, 42);
      equal(drain(c, 1).get(0).offset(), 42L);
      equal(admin.listOffsets(Map.of(at, OffsetSpec.maxTimestamp())).all().get().get(at).offset(), 50L);
      equal(admin.listOffsets(Map.of(at, OffsetSpec.earliest())).all().get().get(at).offset(), 0L);
      equal(admin.listOffsets(Map.of(at, OffsetSpec.latest())).all().get().get(at).offset(), 100L);
      equal(admin.listOffsets(Map.of(at, OffsetSpec.earliestLocal())).all().get().get(at).offset(), 0L);
      equal(admin.listOffsets(Map.of(at, OffsetSpec.latestTiered())).all().get().get(at).offset(), -1L);
    }
  }

  static void resumes() throws Exception {
    for (String action : List.of("stop", "kill")) {
      String topic = name();
      String group = name();
      create(topic, 2, Map.of());
      produce(topic, 0, 100);
      Set<String> seen = new HashSet<>();
      try (KafkaConsumer<String, String> c = consumer(group, "max.poll.records", "40")) {
        c.subscribe(List.of(topic));
        drain(c, 1).forEach(r -> seen.add(r.value()));
        c.commitSync();
      }
      int first = seen.size();
      check(first > 0 && first < 100, "a part was read: " + first);
      ctl(action);
      ctl("start");
      try (KafkaConsumer<String, String> c = consumer(group)) {
        c.subscribe(List.of(topic));
        List<ConsumerRecord<String, String>> rest = drain(c, 100 - first);
        rest.forEach(r -> check(seen.add(r.value()), "read twice: " + r.value()));
      }
      equal(seen.size(), 100);
    }
  }

  static void shares() throws Exception {
    String topic = name();
    String group = name();
    create(topic, 4, Map.of());
    try (KafkaConsumer<String, String> a = consumer(group)) {
      try (KafkaConsumer<String, String> b = consumer(group)) {
        a.subscribe(List.of(topic));
        b.subscribe(List.of(topic));
        AtomicBoolean stop = new AtomicBoolean();
        Set<TopicPartition> ofB = new HashSet<>();
        Thread other = new Thread(() -> {
          while (!stop.get()) {
            b.poll(Duration.ofMillis(50));
            synchronized (ofB) {
              ofB.clear();
              ofB.addAll(b.assignment());
            }
          }
        });
        other.start();
        eventually(() -> {
          a.poll(Duration.ofMillis(50));
          synchronized (ofB) {
            Set<TopicPartition> all = new HashSet<>(ofB);
            all.addAll(a.assignment());
            return a.assignment().size() == 2 && ofB.size() == 2 && all.size() == 4;
          }
        }, "an even share");
        stop.set(true);
        other.join();
      }
      eventually(() -> {
        a.poll(Duration.ofMillis(50));
        return a.assignment().size() == 4;
      }, "the whole for the one left");
    }
  }

  static void staticMember() throws Exception {
    String topic = name();
    String group = name();
    create(topic, 2, Map.of());
    produce(topic, 0, 10);
    int generation;
    try (KafkaConsumer<String, String> c = consumer(group, "group.instance.id", "i1")) {
      c.subscribe(List.of(topic));
      equal(drain(c, 10).size(), 10);
      c.commitSync();
      generation = c.groupMetadata().generationId();
    }
    try (KafkaConsumer<String, String> c = consumer(group, "group.instance.id", "i1")) {
      c.subscribe(List.of(topic));
      eventually(() -> {
        c.poll(Duration.ofMillis(50));
        return c.assignment().size() == 2;
      }, "the old assignment");
      equal(c.groupMetadata().generationId(), generation);
    }
  }

  static void idempotentKill() throws Exception {
    String topic = name();
    create(topic, 3, Map.of());
    Set<String> acknowledged = java.util.concurrent.ConcurrentHashMap.newKeySet();
    AtomicBoolean stop = new AtomicBoolean();
    Thread writer = new Thread(() -> {
      try (KafkaProducer<String, String> p = producer("acks", "all", "linger.ms", "2", "retry.backoff.ms", "50")) {
        for (int i = 0; !stop.get(); i++) {
          String value = String.valueOf(i);
          var sending = p.send(new ProducerRecord<>(topic, i % 3, null, value), (metadata, error) -> {
            if (error == null) {
              acknowledged.add(value);
            }
          });
          if (i < 3) {
            sending.get(); // as carefulProducer() says, but only until each partition knows the producer
          }
          if (i % 20 == 0) {
            Thread.sleep(1);
          }
        }
      } catch (InterruptedException | ExecutionException e) {
        throw new IllegalStateException(e);
      }
    });
    writer.start();
    eventually(() -> acknowledged.size() > 500, "the first acknowledgements");
    ctl("kill");
    ctl("start");
    int before = acknowledged.size();
    eventually(() -> acknowledged.size() > before + 500, "acknowledgements after the restart");
    stop.set(true);
    writer.join();
    List<String> values = readAll(topic, 3).stream().map(ConsumerRecord::value).collect(Collectors.toList());
    Set<String> unique = new HashSet<>(values);
    equal(unique.size(), values.size());
    acknowledged.removeAll(unique);
    equal(acknowledged.size(), 0);
  }

  static void tooLarge() throws Exception {
    String topic = name();
    create(topic, 1, Map.of("max.message.bytes", "2000"));
    try (KafkaProducer<String, String> p = producer()) {
      check(failure(p.send(new ProducerRecord<>(topic, "x".repeat(5000)))) instanceof RecordTooLargeException, "too large");
      p.send(new ProducerRecord<>(topic, "small")).get();
    }
  }

  static void unknownTopic() throws Exception {
    try (Admin admin = admin()) {
      check(failure(admin.describeTopics(List.of(name())).allTopicNames()) instanceof UnknownTopicOrPartitionException, "unknown");
    }
  }

  static void groups() throws Exception {
    String topic = name();
    String group = name();
    create(topic, 1, Map.of());
    produce(topic, 0, 5);
    try (Admin admin = admin()) {
      try (KafkaConsumer<String, String> c = consumer(group)) {
        c.subscribe(List.of(topic));
        drain(c, 5);
        c.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(3, "note")));
        equal(admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), 1);
      }
      equal(admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState().toString(), "Empty");
      Map<TopicPartition, OffsetAndMetadata> offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
      equal(offsets.get(new TopicPartition(topic, 0)).offset(), 3L);
      equal(offsets.get(new TopicPartition(topic, 0)).metadata(), "note");
      admin.alterConsumerGroupOffsets(group, Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(1))).all().get();
      Collection<String> names = admin.listGroups().all().get().stream().map(g -> g.groupId()).collect(Collectors.toList());
      check(names.contains(group), "listed");
      admin.deleteConsumerGroups(List.of(group)).all().get();
      names = admin.listGroups().all().get().stream().map(g -> g.groupId()).collect(Collectors.toList());
      check(!names.contains(group), "deleted");
    }
  }

  static void deleteRecords() throws Exception {
    String topic = name();
    create(topic, 1, Map.of());
    produce(topic, 0, 100);
    TopicPartition at = new TopicPartition(topic, 0);
    try (Admin admin = admin()) {
      equal(admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(60))).lowWatermarks().get(at).get().lowWatermark(), 60L);
      equal(admin.listOffsets(Map.of(at, OffsetSpec.earliest())).all().get().get(at).offset(), 60L);
    }
  }

  /** The stock console producer and consumer, as processes of their own. */
  static void console() throws Exception {
    String topic = name();
    create(topic, 6, Map.of());
    Path file = Files.createTempFile("klamm", ".txt");
    Path out = Files.createTempFile("klamm", ".out");
    try (PrintStream lines = new PrintStream(file.toFile())) {
      for (int i = 0; i < 100_001; i++) {
        lines.println("line " + i + " of a text file that goes through six partitions");
      }
    }
    equal(tool("org.apache.kafka.tools.ConsoleProducer", file.toFile(), null, "--bootstrap-server", BOOTSTRAP, "--topic", topic), 0);
    ctl("kill");
    ctl("start");
    equal(tool("org.apache.kafka.tools.consumer.ConsoleConsumer", null, out.toFile(), "--bootstrap-server", BOOTSTRAP, "--topic", topic,
        "--from-beginning", "--max-messages", "100001", "--timeout-ms", "60000"), 0);
    List<String> sent = new ArrayList<>(Files.readAllLines(file));
    List<String> got = new ArrayList<>(Files.readAllLines(out));
    sent.sort(null);
    got.sort(null);
    check(sent.equals(got), "the file came back with " + got.size() + " lines");
  }

  /** The class path of what is published of an older release alone: the tools and Streams, before everything else. */
  static String olderLibs() {
    String libs = System.getenv("KLAMM_LIBS");
    return libs.replace("/libs", "/tools-libs") + "/*:" + libs + "/*";
  }

  static int tool(String main, File in, File out, String... args) throws Exception {
    List<String> command = new ArrayList<>(List.of("java", "-Xmx256m", "-cp", olderLibs(), main));
    command.addAll(List.of(args));
    ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD);
    builder.redirectInput(in == null ? ProcessBuilder.Redirect.PIPE : ProcessBuilder.Redirect.from(in));
    builder.redirectOutput(out == null ? ProcessBuilder.Redirect.DISCARD : ProcessBuilder.Redirect.to(out));
    return builder.start().waitFor();
  }
}
