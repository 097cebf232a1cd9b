package klamm.interop;

import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KGroupedStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/**
 * Counts words exactly once until it is killed: lines by user are joined with the table of the users' cities, and city and
 * words are counted, over all time and in windows of ten seconds. Every step of every count is written.
 */
public final class StreamsApp {
  static final long WINDOW_MS = 10_000;

  private StreamsApp() {}

  /** Arguments: bootstrap servers, the prefix of the four topics, which is the application's id too, the folder of its state, and the group's protocol. */
  public static void main(String[] args) {
    Properties p = new Properties();
    p.put("bootstrap.servers", args[0]);
    p.put("application.id", args[1]);
    p.put("state.dir", args[2]);
    p.put("processing.guarantee", "exactly_once_v2");
    p.put("commit.interval.ms", "50");
    p.put("statestore.cache.max.bytes", "0");
    p.put("default.key.serde", Serdes.StringSerde.class);
    p.put("default.value.serde", Serdes.StringSerde.class);
    p.put("group.protocol", args[3]);
    if (args[3].equals("classic")) {
      p.put("consumer.session.timeout.ms", "6000");
    }
    p.put("consumer.auto.offset.reset", "earliest");
    p.put("reconnect.backoff.max.ms", "200");
    StreamsBuilder builder = new StreamsBuilder();
    topology(builder, args[1]);
    KafkaStreams streams = new KafkaStreams(builder.build(), p);
    streams.setUncaughtExceptionHandler(problem -> {
      System.err.println("a thread begins again: " + problem);
      return StreamThreadExceptionResponse.REPLACE_THREAD;
    });
    streams.start();
  }

  private static void topology(StreamsBuilder builder, String prefix) {
    KTable<String, String> cities = builder.table(prefix + "-users");
    KGroupedStream<String, String> words = builder.<String, String>stream(prefix + "-lines")
        .join(cities, (text, city) -> city + " " + text)
        .flatMap((user, text) -> Arrays.stream(text.split(" ")).map(word -> KeyValue.pair(word, word)).toList())
        .groupByKey(Grouped.as("words"));
    words.count()
        .toStream()
        .to(prefix + "-counts", Produced.with(Serdes.String(), Serdes.Long()));
    words.windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMillis(WINDOW_MS), Duration.ofHours(6)))
        .count()
        .toStream((word, count) -> word.key() + "@" + word.window().start())
        .to(prefix + "-windows", Produced.with(Serdes.String(), Serdes.Long()));
  }
}
