package klamm.interop;

import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** An idempotent producer that writes numbered values until its input ends, and tells what becomes of each. */
public final class Writer {
  private Writer() {}

  private static synchronized void say(String line) {
    System.out.println(line);
  }

  /** Arguments: bootstrap servers, topic, the writer's name, records a second, requests in flight. */
  public static void main(String[] args) throws Exception {
    Map<String, Object> settings = Map.of(
        "bootstrap.servers", args[0], "acks", "all", "enable.idempotence", true, "linger.ms", 2, "delivery.timeout.ms", 300_000,
        "request.timeout.ms", 10_000, "max.block.ms", 300_000, "reconnect.backoff.max.ms", 300,
        "max.in.flight.requests.per.connection", Integer.parseInt(args[4]));
    Thread input = untilInputEnds();
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      for (long number = 0; input.isAlive(); number++) {
        String value = args[2] + ":" + number;
        say("sent " + value);
        producer.send(new ProducerRecord<>(args[1], value), (meta, error) ->
            say(error == null ? "acked " + value + " " + meta.partition() + " " + meta.offset() : "failed " + value + " " + error));
        Thread.sleep(1000 / Integer.parseInt(args[3]));
      }
    }
  }

  static Thread untilInputEnds() {
    Thread watch = new Thread(() -> {
      try {
        while (System.in.read() >= 0) {}
      } catch (java.io.IOException e) {
        // As good as the end.
      }
    });
    watch.setDaemon(true);
    watch.start();
    return watch;
  }
}
