package klamm.interop;

import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Copies a topic to another one, each record exactly once, until it is killed: consume, produce, commit both in one transaction. */
public final class Copier {
  private Copier() {}

  /** Arguments: the group's protocol, bootstrap servers, input topic, output topic, the name of the group and of the transactional id. */
  public static void main(String[] args) throws Exception {
    while (true) {
      try {
        copy(args[0], args[1], args[2], args[3], args[4]);
      } catch (UnsupportedVersionException hopeless) {
        throw hopeless;
      } catch (KafkaException problem) {
        System.err.println("begins again: " + problem);
        Thread.sleep(100);
      }
    }
  }

  private static void copy(String protocol, String bootstrap, String input, String output, String name) {
    Map<String, Object> common = Map.of("bootstrap.servers", bootstrap, "reconnect.backoff.max.ms", 200);
    Map<String, Object> reading = new HashMap<>(common);
    reading.putAll(Map.of("group.id", name, "group.protocol", protocol, "isolation.level", "read_committed",
        "auto.offset.reset", "earliest", "enable.auto.commit", false, "max.poll.records", 20));
    if (protocol.equals("classic")) {
      reading.put("session.timeout.ms", 6000); // of the consumer protocol, the broker says it
    }
    Map<String, Object> writing = new HashMap<>(common);
    writing.putAll(Map.of("transactional.id", name, "linger.ms", 0, "transaction.timeout.ms", 10_000, "max.block.ms", 20_000));
    try (var consumer = new KafkaConsumer<>(reading, new StringDeserializer(), new StringDeserializer());
        var producer = new KafkaProducer<>(writing, new StringSerializer(), new StringSerializer())) {
      producer.initTransactions();
      consumer.subscribe(List.of(input));
      while (true) {
        ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(200));
        if (!records.isEmpty()) {
          copy(records, output, consumer, producer);
        }
      }
    }
  }

  private static void copy(ConsumerRecords<String, String> records, String output, KafkaConsumer<String, String> consumer,
      KafkaProducer<String, String> producer) {
    producer.beginTransaction();
    try {
      Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
      for (ConsumerRecord<String, String> record : records) {
        producer.send(new ProducerRecord<>(output, record.key(), record.value()));
        next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
      }
      producer.sendOffsetsToTransaction(next, consumer.groupMetadata());
      producer.commitTransaction();
    } catch (ProducerFencedException | InvalidProducerEpochException | FencedInstanceIdException fenced) {
      throw fenced;
    } catch (KafkaException problem) {
      System.err.println("aborts: " + problem);
      producer.abortTransaction();
      throw problem;
    }
  }
}
