package klamm.interop;

import java.util.HashMap;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;

/** Moves all partitions of a topic on broker 1 to a log directory, and waits until they are there. */
public final class MoveLogs {
  private MoveLogs() {}

  /** Arguments: bootstrap servers, topic, partitions, directory. Prints the partitions in the directory. */
  public static void main(String[] args) throws Exception {
    String topic = args[1];
    int partitions = Integer.parseInt(args[2]);
    String directory = args[3];
    try (Admin admin = Admin.create(Map.<String, Object>of("bootstrap.servers", args[0]))) {
      Map<TopicPartitionReplica, String> wanted = new HashMap<>();
      for (int p = 0; p < partitions; p++) {
        wanted.put(new TopicPartitionReplica(topic, p, 1), directory);
      }
      admin.alterReplicaLogDirs(wanted).all().get();
      for (int tries = 0; tries < 600; tries++) {
        var there = new TreeSet<Integer>();
        boolean moving = false;
        for (var dir : admin.describeLogDirs(java.util.List.of(1)).allDescriptions().get().get(1).entrySet()) {
          if (dir.getValue().error() != null) {
            throw dir.getValue().error();
          }
          for (var replica : dir.getValue().replicaInfos().entrySet()) {
            TopicPartition id = replica.getKey();
            moving |= replica.getValue().isFuture();
            if (id.topic().equals(topic) && dir.getKey().equals(directory) && !replica.getValue().isFuture()) {
              there.add(id.partition());
            }
          }
        }
        if (!moving && there.size() == partitions) {
          System.out.println(there);
          return;
        }
        Thread.sleep(100);
      }
      throw new IllegalStateException("the partitions did not arrive");
    }
  }
}
