package klamm.vectors;

import java.io.File;
import java.io.PrintStream;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Enumeration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.Readable;
import org.apache.kafka.common.protocol.types.ArrayOf;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Writes known answers for the codec: for every generated message class of the reference and every version the default
 * value and N random ones, as the class itself serialises them. One line each: name, version, hexadecimal bytes.
 *
 * <p>Usage: Vectors OUTPUT [N] [SEED]
 */
public final class Vectors {
  private final Random random;

  private Vectors(long seed) {
    random = new Random(seed);
  }

  public static void main(String[] args) throws Exception {
    int rounds = args.length > 1 ? Integer.parseInt(args[1]) : 20;
    long seed = args.length > 2 ? Long.parseLong(args[2]) : 1;
    Vectors vectors = new Vectors(seed);
    int lines = 0;
    try (PrintStream out = new PrintStream(args[0])) {
      for (Class<?> type : messageClasses()) {
        lines += vectors.write(type, rounds, out);
      }
    }
    System.out.println(lines + " vectors written");
  }

  static List<Class<?>> messageClasses() throws Exception {
    Map<String, Class<?>> found = new TreeMap<>();
    for (String path : System.getProperty("java.class.path").split(File.pathSeparator)) {
      if (!path.endsWith(".jar") || !new File(path).getName().startsWith("kafka")) {
        continue;
      }
      try (JarFile jar = new JarFile(path)) {
        for (Enumeration<JarEntry> entries = jar.entries(); entries.hasMoreElements(); ) {
          String name = entries.nextElement().getName();
          if (!name.endsWith(".class") || name.contains("$")) {
            continue;
          }
          if (!name.matches(".*/(message|metadata|generated)/[A-Za-z]+\\.class")) {
            continue;
          }
          Class<?> type = Class.forName(name.replace('/', '.').replace(".class", ""));
          if (Message.class.isAssignableFrom(type) && !Modifier.isAbstract(type.getModifiers())) {
            found.put(type.getName(), type);
          }
        }
      }
    }
    return new ArrayList<>(found.values());
  }

  static String nameOf(Class<?> type) {
    return type.getSimpleName().replaceAll("(Request|Response|Header)Data$", "$1");
  }

  private int write(Class<?> type, int rounds, PrintStream out) throws Exception {
    short lowest = type.getField("LOWEST_SUPPORTED_VERSION").getShort(null);
    short highest = type.getField("HIGHEST_SUPPORTED_VERSION").getShort(null);
    Schema[] schemas = (Schema[]) type.getField("SCHEMAS").get(null);
    String name = nameOf(type);
    int lines = 0;
    for (short version = lowest; version <= highest; version++) {
      Message blank = (Message) type.getConstructor().newInstance();
      lines += line(name, version, blank, out);
      for (int i = 0; i < rounds; i++) {
        Struct struct = (Struct) value(schemas[version], 0);
        ByteBuffer buffer = ByteBuffer.allocate(schemas[version].sizeOf(struct));
        struct.writeTo(buffer);
        buffer.flip();
        Message message =
            (Message) type.getConstructor(Readable.class, short.class).newInstance(new ByteBufferAccessor(buffer), version);
        lines += line(name, version, message, out);
      }
    }
    return lines;
  }

  private static int line(String name, short version, Message message, PrintStream out) {
    ObjectSerializationCache cache = new ObjectSerializationCache();
    int size;
    try {
      size = message.size(cache, version);
    } catch (RuntimeException noDefault) {
      return 0; // a few messages have no serialisable default at some version
    }
    ByteBuffer buffer = ByteBuffer.allocate(size);
    message.write(new ByteBufferAccessor(buffer), cache, version);
    String hex = HexFormat.of().formatHex(buffer.array());
    out.println(name + " " + version + " " + (hex.isEmpty() ? "-" : hex));
    return 1;
  }

  private Object value(Type type, int depth) {
    if (type instanceof Schema schema) {
      return struct(schema, depth);
    }
    if (type instanceof ArrayOf || type instanceof CompactArrayOf) {
      if (type.isNullable() && random.nextInt(4) == 0) {
        return null;
      }
      Type element = type.arrayElementType().orElseThrow();
      Object[] items = new Object[depth > 3 ? random.nextInt(2) : random.nextInt(3)];
      for (int i = 0; i < items.length; i++) {
        items[i] = value(element, depth + 1);
      }
      return items;
    }
    if (type.isNullable() && random.nextInt(4) == 0) {
      return null;
    }
    return scalar(type.toString());
  }

  private Object scalar(String name) {
    switch (name.replace("COMPACT_", "").replace("NULLABLE_", "")) {
      case "BOOLEAN": return random.nextBoolean();
      case "INT8": return (byte) random.nextInt();
      case "INT16": return (short) random.nextInt();
      case "UINT16": return random.nextInt(65536);
      case "INT32": return random.nextInt();
      case "UINT32": return random.nextInt() & 0xFFFFFFFFL;
      case "INT64": return random.nextLong();
      case "FLOAT64": return random.nextDouble();
      case "UUID": return new Uuid(random.nextLong(), random.nextLong());
      case "STRING": return text();
      case "BYTES": return ByteBuffer.wrap(bytes());
      case "RECORDS": return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
      default: throw new IllegalStateException("no random value for type " + name);
    }
  }

  private String text() {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(12); i > 0; i--) {
      text.append(random.nextInt(9) == 0 ? '\u00e4' : (char) ('a' + random.nextInt(26)));
    }
    return text.toString();
  }

  private byte[] bytes() {
    byte[] bytes = new byte[random.nextInt(12)];
    random.nextBytes(bytes);
    return bytes;
  }

  private Struct struct(Schema schema, int depth) {
    if (schema.isNullable() && random.nextInt(3) == 0) {
      return null;
    }
    Struct struct = new Struct(schema);
    for (BoundField bound : schema.fields()) {
      if (bound.def.type instanceof TaggedFields tagged) {
        struct.set(bound, tags(tagged, depth));
      } else {
        struct.set(bound, value(bound.def.type, depth + 1));
      }
    }
    return struct;
  }

  private Map<Integer, Object> tags(TaggedFields tagged, int depth) {
    TreeMap<Integer, Object> values = new TreeMap<>();
    for (Map.Entry<Integer, Field> entry : tagged.fields().entrySet()) {
      Object chosen = value(entry.getValue().type, depth + 1);
      // A null struct in a tag has a form of its own that Schema does not write.
      boolean writable = chosen != null || !(entry.getValue().type instanceof Schema);
      if (writable && random.nextBoolean()) {
        values.put(entry.getKey(), chosen);
      }
    }
    if (random.nextInt(6) == 0) {
      int tag = 100 + random.nextInt(200);
      values.put(tag, new RawTaggedField(tag, bytes()));
    }
    return values;
  }
}
