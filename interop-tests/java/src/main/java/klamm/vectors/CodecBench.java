package klamm.vectors;

import java.lang.reflect.Constructor;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/**
 * Decodes and encodes again the known answers in a loop, one thread, by the reference's own classes; the twin of
 * tools/bench/codec_bench.cc.
 *
 * <p>Usage: CodecBench FILE SECONDS -> "MB/s messages/s", after as long a warm-up.
 */
public final class CodecBench {
  private record Vector(Constructor<?> type, short version, byte[] bytes) {}

  private static List<Vector> load(String path) throws Exception {
    Map<String, Constructor<?>> types = new HashMap<>();
    for (Class<?> type : Vectors.messageClasses()) {
      types.put(Vectors.nameOf(type), type.getConstructor());
    }
    List<Vector> vectors = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(path))) {
      String[] words = line.split(" ");
      if (types.containsKey(words[0]) && !words[2].equals("-")) {
        vectors.add(new Vector(types.get(words[0]), Short.parseShort(words[1]), HexFormat.of().parseHex(words[2])));
      }
    }
    return vectors;
  }

  private static double[] run(List<Vector> vectors, double seconds) throws Exception {
    long began = System.nanoTime();
    double bytes = 0;
    double messages = 0;
    double passed = 0;
    while (passed < seconds) {
      for (Vector vector : vectors) {
        Message message = (Message) vector.type.newInstance();
        message.read(new ByteBufferAccessor(ByteBuffer.wrap(vector.bytes)), vector.version);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer out = ByteBuffer.allocate(message.size(cache, vector.version));
        message.write(new ByteBufferAccessor(out), cache, vector.version);
        bytes += out.position();
      }
      messages += vectors.size();
      passed = (System.nanoTime() - began) / 1e9;
    }
    return new double[] {bytes / 1e6 / passed, messages / passed};
  }

  public static void main(String[] args) throws Exception {
    List<Vector> vectors = load(args[0]);
    double seconds = Double.parseDouble(args[1]);
    run(vectors, seconds);
    double[] rates = run(vectors, seconds);
    System.out.printf(java.util.Locale.ROOT, "%.3f %.0f%n", rates[0], rates[1]);
  }
}
