package klamm.interop;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.KafkaShareConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Writes records of 1 KiB, then reads and acknowledges them in a share group; prints the records a second of the reading. */
public final class ShareBench {
  private ShareBench() {}

  /** Arguments: bootstrap servers, topic, the number of records. */
  public static void main(String[] args) throws Exception {
    int count = Integer.parseInt(args[2]);
    Map<String, Object> common = Map.of("bootstrap.servers", args[0]);
    try (var producer = new KafkaProducer<>(common, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (int i = 0; i < count; i++) {
        producer.send(new ProducerRecord<>(args[1], new byte[1024]));
      }
    }
    try (Admin admin = Admin.create(common)) {
      var earliest = new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET);
      admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.GROUP, "bench"), List.of(earliest))).all().get();
    }
    Map<String, Object> reading = Map.of("bootstrap.servers", args[0], "group.id", "bench");
    try (var consumer = new KafkaShareConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(args[1]));
      long began = 0;
      int read = 0;
      int skipped = 0;
      while (read < count) {
        read += consumer.poll(Duration.ofMillis(500)).count();
        if (began == 0 && read > count / 10) {  // warm
          began = System.nanoTime();
          skipped = read;
        }
      }
      System.out.println((read - skipped) * 1e9 / (System.nanoTime() - began));
    }
  }
}
