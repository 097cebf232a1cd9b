package klamm.interop;

import static klamm.interop.Suite.check;
import static klamm.interop.Suite.consumer;
import static klamm.interop.Suite.create;
import static klamm.interop.Suite.equal;
import static klamm.interop.Suite.eventually;
import static klamm.interop.Suite.name;
import static klamm.interop.Suite.producer;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;

/** Transactions as kafka-clients make and see them. */
final class TransactionTests {
  private TransactionTests() {}

  static Map<String, Suite.Test> all() {
    Map<String, Suite.Test> tests = new LinkedHashMap<>();
    tests.put("what_commits_is_read_and_what_aborts_is_not", TransactionTests::isolation);
    tests.put("a_second_producer_fences_the_first", TransactionTests::fencing);
    tests.put("a_transaction_that_takes_too_long_is_aborted", TransactionTests::timeout);
    tests.put("transactions_are_described_listed_and_aborted", TransactionTests::admin);
    tests.put("offsets_in_a_transaction_are_unstable_until_its_end", TransactionTests::unstable);
    tests.put("ten_producers_at_once_are_atomic_each", TransactionTests::concurrent);
    return tests;
  }

  private static KafkaProducer<String, String> transactional(String id, String... config) {
    List<String> all = new ArrayList<>(List.of("transactional.id", id, "linger.ms", "0"));
    all.addAll(List.of(config));
    var producer = producer(all.toArray(new String[0]));
    producer.initTransactions();
    return producer;
  }

  /** Everything up to the end that an isolation level has, by partition. */
  private static List<ConsumerRecord<String, String>> read(String topic, int partitions, String isolation) throws Exception {
    List<ConsumerRecord<String, String>> records = new ArrayList<>();
    try (var consumer = consumer(name(), "isolation.level", isolation)) {
      List<TopicPartition> all = IntStream.range(0, partitions).mapToObj(p -> new TopicPartition(topic, p)).toList();
      consumer.assign(all);
      consumer.seekToBeginning(all);
      Map<TopicPartition, Long> ends = consumer.endOffsets(all);
      eventually(() -> {
        consumer.poll(Duration.ofMillis(100)).forEach(records::add);
        return all.stream().allMatch(p -> consumer.position(p) >= ends.get(p));
      }, "the end of " + topic);
    }
    return records;
  }

  private static Set<String> values(List<ConsumerRecord<String, String>> records) {
    return records.stream().map(ConsumerRecord::value).collect(Collectors.toSet());
  }

  static void isolation() throws Exception {
    String topic = name();
    create(topic, 3, Map.of());
    try (var producer = transactional(name())) {
      for (String what : List.of("c1", "a1", "c2", "a2")) {
        producer.beginTransaction();
        for (int i = 0; i < 3; i++) {
          producer.send(new ProducerRecord<>(topic, i, "k", what + i));
        }
        if (what.startsWith("c")) {
          producer.commitTransaction();
        } else {
          producer.flush();
          producer.abortTransaction();
        }
      }
    }
    Set<String> committed = Set.of("c10", "c11", "c12", "c20", "c21", "c22");
    equal(values(read(topic, 3, "read_committed")), committed);
    equal(values(read(topic, 3, "read_uncommitted")).size(), 12);
  }

  static void fencing() throws Exception {
    String topic = name(), id = name();
    create(topic, 1, Map.of());
    var first = transactional(id);
    first.beginTransaction();
    first.send(new ProducerRecord<>(topic, "lost")).get();
    try (var second = transactional(id)) {
      second.beginTransaction();
      second.send(new ProducerRecord<>(topic, "kept")).get();
      try {
        first.send(new ProducerRecord<>(topic, "zombie")).get();
        first.commitTransaction();
        throw new AssertionError("the first producer goes on");
      } catch (ExecutionException | ProducerFencedException | InvalidProducerEpochException fenced) {
        Throwable why = fenced instanceof ExecutionException ? fenced.getCause() : fenced;
        check(why instanceof ProducerFencedException || why instanceof InvalidProducerEpochException, "fenced by " + why);
      }
      second.commitTransaction();
    }
    first.close(Duration.ZERO);
    equal(values(read(topic, 1, "read_committed")), Set.of("kept"));
  }

  static void timeout() throws Exception {
    String topic = name();
    create(topic, 1, Map.of());
    TopicPartition partition = new TopicPartition(topic, 0);
    var slow = transactional(name(), "transaction.timeout.ms", "1000");
    slow.beginTransaction();
    slow.send(new ProducerRecord<>(topic, "slow")).get();
    try (var plain = producer()) {
      plain.send(new ProducerRecord<>(topic, "plain")).get();
    }
    try (Admin admin = Suite.admin()) {
      var committed = new org.apache.kafka.clients.admin.ListOffsetsOptions(IsolationLevel.READ_COMMITTED);
      var latest = Map.of(partition, OffsetSpec.latest());
      equal(admin.listOffsets(latest, committed).partitionResult(partition).get().offset(), 0L);
      eventually(() -> {
        try {
          return admin.listOffsets(latest, committed).partitionResult(partition).get().offset() == 3;
        } catch (Exception e) {
          throw new IllegalStateException(e);
        }
      }, "the abort by the coordinator");
    }
    try {
      slow.commitTransaction();
      throw new AssertionError("what was aborted commits");
    } catch (KafkaException expected) {
      slow.close(Duration.ZERO);
    }
    equal(values(read(topic, 1, "read_committed")), Set.of("plain"));
  }

  static void admin() throws Exception {
    String topic = name(), id = name();
    create(topic, 2, Map.of());
    TopicPartition partition = new TopicPartition(topic, 1);
    try (Admin admin = Suite.admin(); var hanging = transactional(id)) {
      hanging.beginTransaction();
      hanging.send(new ProducerRecord<>(topic, 1, "k", "hangs")).get();
      var described = admin.describeTransactions(List.of(id)).description(id).get();
      equal(described.state(), TransactionState.ONGOING);
      equal(described.topicPartitions(), Set.of(partition));
      equal(described.transactionTimeoutMs(), 60000L);
      var one = admin.listTransactions(new ListTransactionsOptions().filterStates(List.of(TransactionState.ONGOING))
          .filterProducerIds(List.of(described.producerId())).filterOnDuration(0).filterOnTransactionalIdPattern("t-.*")).all().get();
      equal(one.stream().map(listing -> listing.transactionalId()).toList(), List.of(id));
      equal(admin.listTransactions(new ListTransactionsOptions().filterOnTransactionalIdPattern("no.*")).all().get().size(), 0);
      equal(admin.listTransactions(new ListTransactionsOptions().filterProducerIds(List.of(described.producerId()))
          .filterOnDuration(3_600_000)).all().get().size(), 0);
      var producers = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
      equal(producers.size(), 1);
      equal(producers.get(0).currentTransactionStartOffset().getAsLong(), 0L);
      equal(producers.get(0).producerId(), described.producerId());
      admin.abortTransaction(new AbortTransactionSpec(partition, described.producerId(), (short) producers.get(0).producerEpoch(), 0)).all().get();
      check(admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers().get(0)
          .currentTransactionStartOffset().isEmpty(), "the transaction is still open in the partition");
      equal(values(read(topic, 2, "read_committed")), Set.of());
      admin.fenceProducers(List.of(id)).all().get();
      try {
        hanging.send(new ProducerRecord<>(topic, 1, "k", "fenced"));
        hanging.commitTransaction();
        throw new AssertionError("a fenced producer commits");
      } catch (KafkaException expected) {
        hanging.close(Duration.ZERO);
      }
    }
  }

  static void unstable() throws Exception {
    String topic = name(), group = name();
    create(topic, 1, Map.of());
    TopicPartition partition = new TopicPartition(topic, 0);
    try (var producer = transactional(name()); KafkaConsumer<String, String> consumer = consumer(group)) {
      for (boolean commits : List.of(true, false)) {
        producer.beginTransaction();
        producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(commits ? 5 : 7, "note")), new ConsumerGroupMetadata(group));
        try {
          consumer.committed(Set.of(partition), Duration.ofMillis(300));
          throw new AssertionError("an unstable offset is told");
        } catch (TimeoutException expected) {
          // It waits for the end of the transaction.
        }
        if (commits) {
          producer.commitTransaction();
        } else {
          producer.abortTransaction();
        }
        equal(consumer.committed(Set.of(partition)).get(partition).offset(), 5L);
      }
    }
  }

  static void concurrent() throws Exception {
    String topic = name();
    create(topic, 5, Map.of());
    List<Thread> threads = new ArrayList<>();
    List<Throwable> failures = java.util.Collections.synchronizedList(new ArrayList<>());
    for (int each = 0; each < 10; each++) {
      String own = "p" + each;
      threads.add(new Thread(() -> {
        try (var producer = transactional(topic + own)) {
          for (int round = 0; round < 40; round++) {
            producer.beginTransaction();
            boolean commits = round % 3 != 0;
            for (int i = 0; i < 5; i++) {
              producer.send(new ProducerRecord<>(topic, i, own, own + "-" + round + "-" + (commits ? "c" : "a")));
            }
            if (commits) {
              producer.commitTransaction();
            } else {
              producer.abortTransaction();
            }
          }
        } catch (Throwable problem) {
          failures.add(problem);
        }
      }));
    }
    threads.forEach(Thread::start);
    for (Thread thread : threads) {
      thread.join();
    }
    equal(failures, List.of());
    Map<String, Integer> times = new TreeMap<>();
    read(topic, 5, "read_committed").forEach(record -> times.merge(record.value(), 1, Integer::sum));
    equal(times.size(), 10 * 26);
    times.forEach((value, count) -> check(count == 5 && value.endsWith("c"), value + " is there " + count + " times"));
  }
}
