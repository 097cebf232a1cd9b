package klamm.interop;

import java.util.Map;
import java.util.Random;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Writes transactions until its input ends, commits most of them, and begins anew with another producer of the same transactional id
 * when that is all that helps. Tells what it was told: "begin NUMBER COUNT", and "committed NUMBER", "aborted NUMBER" or nothing.
 */
public final class Transactor {
  private static final int MOST_RECORDS = 8;

  private final Map<String, Object> settings;
  private final String topic;
  private final int partitions;
  private final String writer;
  private final Random chance;

  private Transactor(String[] args) {
    topic = args[1];
    partitions = Integer.parseInt(args[2]);
    writer = args[3];
    chance = new Random(writer.hashCode());
    settings = Map.of("bootstrap.servers", args[0], "transactional.id", writer, "transaction.timeout.ms", 20_000, "linger.ms", 1,
        "request.timeout.ms", 10_000, "delivery.timeout.ms", 19_000, "max.block.ms", 10_000, "reconnect.backoff.max.ms", 300);
  }

  /** Arguments: bootstrap servers, topic, its number of partitions, the writer's name and transactional id. */
  public static void main(String[] args) throws Exception {
    var transactor = new Transactor(args);
    Thread input = Writer.untilInputEnds();
    for (long number = 0; input.isAlive();) {
      try (var producer = new KafkaProducer<>(transactor.settings, new StringSerializer(), new StringSerializer())) {
        persist(producer::initTransactions);
        while (input.isAlive()) {
          transactor.transact(producer, number++);
        }
      } catch (KafkaException hopeless) {
        System.err.println("begins again: " + hopeless);
      }
    }
  }

  /** Throws when the producer is of no use any more. */
  private void transact(KafkaProducer<String, String> producer, long number) {
    int count = 1 + chance.nextInt(MOST_RECORDS);
    System.out.println("begin " + number + " " + count);
    producer.beginTransaction();
    boolean wanted = chance.nextInt(5) > 0;
    try {
      for (int index = 0; index < count; index++) {
        producer.send(new ProducerRecord<>(topic, chance.nextInt(partitions), null, writer + ":" + number + ":" + index));
      }
      if (wanted) {
        persist(producer::commitTransaction);
        System.out.println("committed " + number);
        return;
      }
    } catch (KafkaException problem) {
      // Whether the end that was asked for has come nevertheless is not told.
      persist(producer::abortTransaction);
      return;
    }
    persist(producer::abortTransaction);
    System.out.println("aborted " + number);
  }

  /** Who has waited too long for an answer may only ask the same again. */
  private static void persist(Runnable call) {
    while (true) {
      try {
        call.run();
        return;
      } catch (TimeoutException late) {
        System.err.println("asks again: " + late.getMessage());
      }
    }
  }
}
