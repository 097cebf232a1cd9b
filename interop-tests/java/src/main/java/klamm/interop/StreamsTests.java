package klamm.interop;

import static klamm.interop.Suite.carefulProducer;
import static klamm.interop.Suite.check;
import static klamm.interop.Suite.create;
import static klamm.interop.Suite.ctl;
import static klamm.interop.Suite.equal;
import static klamm.interop.Suite.eventually;
import static klamm.interop.Suite.name;
import static klamm.interop.Suite.producer;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Kafka Streams with exactly-once: what {@link StreamsApp} writes is what a model counts, however often it or the broker is killed. */
final class StreamsTests {
  private static final int PARTITIONS = 3;
  private static final List<String> CITIES = List.of("ulm", "graz", "bern", "linz", "chur");
  private static final List<String> WORDS = List.of("klamm", "log", "quorum", "batch", "epoch", "offset", "isr");

  private StreamsTests() {}

  static Map<String, Suite.Test> all() {
    Map<String, Suite.Test> tests = new LinkedHashMap<>();
    tests.put("words_are_counted_once_over_kills_of_application_and_broker", () -> wordCount("classic"));
    tests.put("words_are_counted_once_with_the_streams_protocol", () -> wordCount("streams"));
    return tests;
  }

  /** The lines of one test: what has been sent, and what must be counted for it. */
  private static final class Model {
    final String prefix = name();
    final long began = System.currentTimeMillis() - 3_600_000;
    final Map<String, Long> counts = new TreeMap<>();
    final Map<String, Long> windows = new TreeMap<>();
    int sent = 0;

    void users() {
      try (KafkaProducer<String, String> producer = producer()) {
        IntStream.range(0, CITIES.size())
            .forEach(i -> producer.send(new ProducerRecord<>(prefix + "-users", null, began - 1, "user" + i, CITIES.get(i))));
      }
    }

    void lines(int more) throws Exception {
      List<Future<?>> sending = new ArrayList<>();
      try (KafkaProducer<String, String> producer = carefulProducer()) {
        for (int end = sent + more; sent < end; sent++) {
          int user = sent % CITIES.size();
          List<String> words = List.of(WORDS.get(sent % WORDS.size()), WORDS.get(sent / 3 % WORDS.size()));
          long at = began + sent * 50L;
          sending.add(producer.send(new ProducerRecord<>(prefix + "-lines", null, at, "user" + user, String.join(" ", words))));
          count(CITIES.get(user), at);
          words.forEach(word -> count(word, at));
        }
      }
      for (Future<?> each : sending) {
        each.get();
      }
    }

    private void count(String word, long at) {
      counts.merge(word, 1L, Long::sum);
      windows.merge(word + "@" + (at - at % StreamsApp.WINDOW_MS), 1L, Long::sum);
    }
  }

  /** All that readers of committed records have seen of a topic so far, by key. */
  private static final class Output implements AutoCloseable {
    final Map<String, List<Long>> seen = new TreeMap<>();
    long records = 0;
    private final KafkaConsumer<String, Long> consumer;

    Output(String topic) {
      consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", Suite.bootstrap(), "isolation.level", "read_committed", "group.id", name(),
          "auto.offset.reset", "earliest"), new StringDeserializer(), new LongDeserializer());
      List<TopicPartition> all = IntStream.range(0, PARTITIONS).mapToObj(p -> new TopicPartition(topic, p)).toList();
      consumer.assign(all);
      consumer.seekToBeginning(all);
    }

    void await(long wanted) {
      long end = System.currentTimeMillis() + 60_000;
      while (records < wanted) {
        check(System.currentTimeMillis() < end, records + " of " + wanted + " steps were counted");
        consumer.poll(Duration.ofMillis(100)).forEach(record -> {
          seen.computeIfAbsent(record.key(), key -> new ArrayList<>()).add(record.value());
          records++;
        });
      }
    }

    /** Each key was counted 1, 2, 3 up to what the model says: no step is missing, and none was taken twice. */
    void mustBe(Map<String, Long> model) {
      equal(seen.keySet(), model.keySet());
      model.forEach((key, count) -> equal(seen.get(key), LongStream.rangeClosed(1, count).boxed().toList()));
    }

    @Override
    public void close() {
      consumer.close();
    }
  }

  private static Process start(String prefix, Path state, String protocol) throws Exception {
    Path log = state.resolve("log");
    String classes = Path.of(StreamsApp.class.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
    return new ProcessBuilder("java", "-Xmx256m", "-cp", classes + ":" + Suite.olderLibs(), StreamsApp.class.getName(), Suite.bootstrap(), prefix, state.toString(), protocol)
        .redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile())).start();
  }

  /** Kills the application, and starts it once the group has given it up: what Streams does to tasks that move meanwhile is not asked here. */
  private static Process startAnew(Process app, String prefix, Path state, String protocol) throws Exception {
    app.destroyForcibly().waitFor();
    try (Admin admin = Suite.admin()) {
      eventually(() -> {
        try {
          return protocol.equals("streams")
              ? admin.describeStreamsGroups(List.of(prefix)).all().get().get(prefix).members().isEmpty()
              : admin.describeConsumerGroups(List.of(prefix)).all().get().get(prefix).members().isEmpty();
        } catch (InterruptedException | ExecutionException notNow) {
          return false;
        }
      }, "an empty group");
    }
    return start(prefix, state, protocol);
  }

  private static void hurry(String group) throws Exception {
    ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
    List<AlterConfigOp> ops = Stream.of(new ConfigEntry("streams.session.timeout.ms", "6000"), new ConfigEntry("streams.heartbeat.interval.ms", "500"))
        .map(entry -> new AlterConfigOp(entry, AlterConfigOp.OpType.SET)).toList();
    try (Admin admin = Suite.admin()) {
      admin.incrementalAlterConfigs(Map.of(resource, ops)).all().get();
    }
  }

  private static void wordCount(String protocol) throws Exception {
    Model model = new Model();
    hurry(model.prefix);
    for (String topic : List.of("users", "lines", "counts", "windows")) {
      create(model.prefix + "-" + topic, PARTITIONS, Map.of());
    }
    Path state = Files.createTempDirectory("klamm-streams");
    model.users();
    model.lines(2_000);
    Process app = start(model.prefix, state, protocol);
    try (Output counts = new Output(model.prefix + "-counts"); Output windows = new Output(model.prefix + "-windows")) {
      counts.await(1_000);
      app = startAnew(app, model.prefix, state, protocol);
      model.lines(2_000);
      counts.await(counts.records + 1_000);
      ctl("kill");
      ctl("start");
      model.lines(2_000);
      counts.await(counts.records + 1_000);
      app = startAnew(app, model.prefix, state, protocol);
      model.lines(2_000);
      counts.await(3L * model.sent);
      windows.await(3L * model.sent);
      counts.mustBe(model.counts);
      windows.mustBe(model.windows);
    } catch (AssertionError problem) {
      throw new AssertionError(problem.getMessage() + "; the application said: " + Files.readString(state.resolve("log")), problem);
    } finally {
      app.destroyForcibly().waitFor();
      delete(state);
    }
  }

  private static void delete(Path folder) throws Exception {
    try (var all = Files.walk(folder)) {
      for (Path each : all.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(each);
      }
    }
  }
}
