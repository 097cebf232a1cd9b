package klamm.interop;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicIdPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** A member of a share group, until it is killed: prints "acked VALUE", or "unsure VALUE" where nobody said what became of it. */
public final class Sharer {
  private Sharer() {}

  /** Arguments: bootstrap servers, topic, group. */
  public static void main(String[] args) throws Exception {
    Map<String, Object> config = Map.of("bootstrap.servers", args[0], "group.id", args[2], "max.poll.records", 20,
        "reconnect.backoff.max.ms", 200, "default.api.timeout.ms", 5_000);
    try (var consumer = new KafkaShareConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
      consumer.subscribe(List.of(args[1]));
      while (true) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        Map<TopicIdPartition, Optional<KafkaException>> outcome = Map.of();
        try {
          consumer.poll(Duration.ofMillis(200)).forEach(records::add);
          outcome = consumer.commitSync();
        } catch (KafkaException problem) {
          System.err.println("goes on after: " + problem);
        }
        for (ConsumerRecord<String, String> record : records) {
          boolean kept = outcome.entrySet().stream().anyMatch(each -> each.getKey().partition() == record.partition() && each.getValue().isEmpty());
          System.out.println((kept ? "acked " : "unsure ") + record.value());
        }
        System.out.flush();
      }
    }
  }
}
