package klamm.interop;

import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Two interleaved transactional producers: one commits, one aborts, round after round; the last transaction stays open. */
public final class Transactions {
  private Transactions() {}

  private static KafkaProducer<String, String> producer(String bootstrap, String id) {
    var producer = new KafkaProducer<>(
        Map.<String, Object>of("bootstrap.servers", bootstrap, "transactional.id", id, "linger.ms", 0, "transaction.timeout.ms", 600_000),
        new StringSerializer(), new StringSerializer());
    producer.initTransactions();
    return producer;
  }

  /** Arguments: bootstrap servers, topic, rounds. */
  public static void main(String[] args) throws Exception {
    String topic = args[1];
    var commits = producer(args[0], "commits");
    var aborts = producer(args[0], "aborts");
    for (int round = 0; round < Integer.parseInt(args[2]); round++) {
      commits.beginTransaction();
      aborts.beginTransaction();
      for (int i = 0; i < 5; i++) {
        aborts.send(new ProducerRecord<>(topic, 0, "k" + i, "aborted-" + round + "-" + i)).get();
        commits.send(new ProducerRecord<>(topic, 0, "k" + i, "committed-" + round + "-" + i)).get();
      }
      commits.commitTransaction();
      aborts.abortTransaction();
    }
    aborts.beginTransaction();
    aborts.send(new ProducerRecord<>(topic, 0, "open", "open")).get();
    Runtime.getRuntime().halt(0);
  }
}
