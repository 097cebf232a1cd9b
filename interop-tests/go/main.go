// franz-go against the broker named by BOOTSTRAP.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var bootstrap = os.Getenv("BOOTSTRAP")

type test struct {
	name string
	run  func(context.Context) error
}

// Those that take the newest franz-go.
var newest []test

func main() {
	tests := append([]test{
		{"topics_are_created_and_deleted", topics},
		{"every_compression_round_trips", compressions},
		{"offsets_by_time", offsetsByTime},
		{"a_reader_seeks_by_time", seeksByTime},
		{"a_group_resumes_over_stop_and_kill", resumes},
		{"two_members_share_and_one_leaves", func(ctx context.Context) error {
			return shares(ctx, kgo.Balancers(kgo.RangeBalancer()), kgo.HeartbeatInterval(200*time.Millisecond))
		}},
		{"idempotent_over_a_kill", idempotentKill},
		{"a_record_too_large_and_an_unknown_topic", refusals},
		{"a_copy_in_transactions_has_each_record_once", transactions},
	}, newest...)
	failed := 0
	for _, t := range tests {
		ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
		if err := t.run(ctx); err != nil {
			failed++
			fmt.Printf("not ok %s: %v\n", t.name, err)
		} else {
			fmt.Printf("ok %s\n", t.name)
		}
		cancel()
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func name() string { return fmt.Sprintf("go-%08x", rand.Uint32()) }

func client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap)}, opts...)...)
	if err != nil {
		panic(err)
	}
	return c
}

func create(ctx context.Context, topic string, partitions int32, configs map[string]*string) error {
	c := client()
	defer c.Close()
	admin := kadm.NewClient(c)
	if r, err := admin.CreateTopic(ctx, partitions, -1, configs, topic); err != nil {
		return err
	} else if r.Err != nil {
		return r.Err
	}
	// Until the leader of each partition answers, for a producer whose first batch is refused may lose it.
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil && ends.Error() == nil && len(ends[topic]) == int(partitions) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ctl(action string) error {
	words := append(strings.Split(os.Getenv("BROKER_CTL"), " "), action)
	return exec.Command(words[0], words[1:]...).Run()
}

func produce(ctx context.Context, topic string, from, to int, opts ...kgo.Opt) error {
	c := client(opts...)
	defer c.Close()
	for i := from; i < to; i++ {
		c.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(fmt.Sprint("k", i)), Value: []byte(fmt.Sprint(i)),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}}, nil)
	}
	return c.Flush(ctx)
}

// Reads until count different values have come; an error when one comes twice.
func drain(ctx context.Context, c *kgo.Client, seen map[string]bool, count int) error {
	for len(seen) < count {
		fetches := c.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d records: %w", len(seen), count, ctx.Err())
		}
		var twice error
		fetches.EachRecord(func(r *kgo.Record) {
			if seen[string(r.Value)] {
				twice = fmt.Errorf("%s came twice", r.Value)
			}
			seen[string(r.Value)] = true
		})
		if twice != nil {
			return twice
		}
	}
	return nil
}

// Every other transaction is aborted and done again.
func transactions(ctx context.Context) error {
	source, target, group := name(), name(), name()
	for _, topic := range []string{source, target} {
		if err := create(ctx, topic, 3, nil); err != nil {
			return err
		}
	}
	if err := produce(ctx, source, 0, 300); err != nil {
		return err
	}
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap), kgo.TransactionalID(group), kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(source), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
		kgo.FetchMaxBytes(2000), kgo.BrokerMaxReadBytes(4000), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer session.Close()
	for copied, round := 0, 0; copied < 300; round++ {
		fetches := session.PollRecords(ctx, 40)
		if ctx.Err() != nil {
			return fmt.Errorf("%d of 300 copied: %w", copied, ctx.Err())
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) { session.Produce(ctx, &kgo.Record{Topic: target, Value: r.Value}, nil) })
		committed, err := session.End(ctx, kgo.TransactionEndTry(round%2 == 1))
		if err != nil {
			return err
		}
		if committed {
			copied += fetches.NumRecords()
		}
	}
	reader := client(kgo.ConsumeTopics(target), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	return drain(ctx, reader, map[string]bool{}, 300)
}

func topics(ctx context.Context) error {
	topic, retention := name(), "5000"
	if err := create(ctx, topic, 3, map[string]*string{"retention.ms": &retention}); err != nil {
		return err
	}
	if err := create(ctx, topic, 3, nil); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("a second creation gave %v", err)
	}
	c := client()
	defer c.Close()
	admin := kadm.NewClient(c)
	details, err := admin.ListTopics(ctx, topic)
	if err != nil || len(details[topic].Partitions) != 3 {
		return fmt.Errorf("listed %v, %v", details, err)
	}
	_, err = admin.DeleteTopics(ctx, topic)
	return err
}

func compressions(ctx context.Context) error {
	for codec, opt := range map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		topic := name()
		if err := create(ctx, topic, 2, nil); err != nil {
			return err
		}
		if err := produce(ctx, topic, 0, 1000, kgo.ProducerBatchCompression(opt)); err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
		c := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		err := drain(ctx, c, map[string]bool{}, 1000)
		c.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
		if err := everyPart(ctx, opt); err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
	}
	return nil
}

// Keys or none, headers and timestamps come back as they went; read by assignment.
func everyPart(ctx context.Context, codec kgo.CompressionCodec) error {
	topic := name()
	if err := create(ctx, topic, 1, nil); err != nil {
		return err
	}
	base := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	var sent []*kgo.Record
	for i := 0; i < 100; i++ {
		r := &kgo.Record{Topic: topic, Value: []byte(fmt.Sprint("value ", i)), Timestamp: base.Add(time.Duration(i) * time.Millisecond),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(fmt.Sprint(i))}, {Key: "n"}}}
		if i%3 != 0 {
			r.Key = []byte(fmt.Sprint("k", i))
		}
		sent = append(sent, r)
	}
	p := client(kgo.ProducerBatchCompression(codec))
	defer p.Close()
	if err := p.ProduceSync(ctx, sent...).FirstErr(); err != nil {
		return err
	}
	c := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	defer c.Close()
	for i := 0; i < len(sent); {
		for _, got := range c.PollFetches(ctx).Records() {
			want := sent[i]
			if string(got.Key) != string(want.Key) || (got.Key == nil) != (want.Key == nil) || string(got.Value) != string(want.Value) ||
				!got.Timestamp.Equal(want.Timestamp) || string(got.Headers[0].Value) != fmt.Sprint(i) || got.Headers[1].Value != nil {
				return fmt.Errorf("record %d came back as %v", i, got)
			}
			i++
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func seeksByTime(ctx context.Context) error {
	topic := name()
	if err := create(ctx, topic, 1, nil); err != nil {
		return err
	}
	base := time.Now().Add(-time.Hour)
	p := client()
	defer p.Close()
	for i := 0; i < 50; i++ {
		r := &kgo.Record{Topic: topic, Value: []byte(fmt.Sprint(i)), Timestamp: base.Add(time.Duration(i) * time.Second)}
		if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
	}
	listed, err := kadm.NewClient(p).ListOffsetsAfterMilli(ctx, base.UnixMilli()+30000, topic)
	if err != nil {
		return err
	}
	c := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(listed[topic][0].Offset)}}))
	defer c.Close()
	records := c.PollFetches(ctx).Records()
	if len(records) == 0 || string(records[0].Value) != "30" {
		return fmt.Errorf("the first of %d records after the time is not 30", len(records))
	}
	return nil
}

func offsetsByTime(ctx context.Context) error {
	topic := name()
	if err := create(ctx, topic, 1, nil); err != nil {
		return err
	}
	c := client(kgo.DefaultProduceTopic(topic))
	defer c.Close()
	base := time.Now().Add(-time.Hour)
	for i := 0; i < 50; i++ {
		r := &kgo.Record{Value: []byte("v"), Timestamp: base.Add(time.Duration(i) * time.Second)}
		if err := c.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
	}
	listed, err := kadm.NewClient(c).ListOffsetsAfterMilli(ctx, base.UnixMilli()+20500, topic)
	if err != nil {
		return err
	}
	if at := listed[topic][0].Offset; at != 21 {
		return fmt.Errorf("found offset %d, not 21", at)
	}
	return nil
}

func resumes(ctx context.Context) error {
	for _, action := range []string{"stop", "kill"} {
		topic, group := name(), name()
		if err := create(ctx, topic, 2, nil); err != nil {
			return err
		}
		if err := produce(ctx, topic, 0, 100); err != nil {
			return err
		}
		seen := map[string]bool{}
		open := func() *kgo.Client {
			return client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
				kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		}
		c := open()
		for len(seen) < 10 {
			for _, r := range c.PollRecords(ctx, 10).Records() {
				seen[string(r.Value)] = true
				if err := c.CommitRecords(ctx, r); err != nil {
					return err
				}
			}
		}
		c.Close()
		if err := ctl(action); err != nil {
			return err
		}
		if err := ctl("start"); err != nil {
			return err
		}
		c = open()
		err := drain(ctx, c, seen, 100)
		c.Close()
		if err != nil {
			return fmt.Errorf("after %s: %w", action, err)
		}
	}
	return nil
}

func shares(ctx context.Context, protocol ...kgo.Opt) error {
	topic, group := name(), name()
	if err := create(ctx, topic, 4, nil); err != nil {
		return err
	}
	var owned [2]atomic.Int64
	open := func(i int) *kgo.Client {
		c := client(append(protocol, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { owned[i].Add(int64(len(m[topic]))) }),
			kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { owned[i].Add(-int64(len(m[topic]))) }))...)
		go func() {
			for !c.PollFetches(ctx).IsClientClosed() && ctx.Err() == nil {
			}
		}()
		return c
	}
	wait := func(a, b int64) error {
		for owned[0].Load() != a || owned[1].Load() != b {
			if ctx.Err() != nil {
				return fmt.Errorf("shares are %d and %d", owned[0].Load(), owned[1].Load())
			}
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	}
	a, b := open(0), open(1)
	defer a.Close()
	if err := wait(2, 2); err != nil {
		return err
	}
	b.Close()
	owned[1].Store(0)
	return wait(4, 0)
}

func idempotentKill(ctx context.Context) error {
	topic := name()
	if err := create(ctx, topic, 3, nil); err != nil {
		return err
	}
	c := client(kgo.DefaultProduceTopic(topic), kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }))
	var acked atomic.Int64
	sent := 0
	pump := func(until int64) error {
		for acked.Load() < until {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.Produce(ctx, &kgo.Record{Value: []byte(fmt.Sprint(sent))}, func(_ *kgo.Record, err error) {
				if err == nil {
					acked.Add(1)
				}
			})
			sent++
			time.Sleep(200 * time.Microsecond)
		}
		return nil
	}
	if err := pump(500); err != nil {
		return err
	}
	if err := ctl("kill"); err != nil {
		return err
	}
	if err := ctl("start"); err != nil {
		return err
	}
	if err := pump(acked.Load() + 500); err != nil {
		return err
	}
	if err := c.Flush(ctx); err != nil {
		return err
	}
	c.Close()
	if int(acked.Load()) != sent {
		return fmt.Errorf("%d of %d acknowledged", acked.Load(), sent)
	}
	reader := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	return drain(ctx, reader, map[string]bool{}, sent)
}

func refusals(ctx context.Context) error {
	topic, limit := name(), "2000"
	if err := create(ctx, topic, 1, map[string]*string{"max.message.bytes": &limit}); err != nil {
		return err
	}
	c := client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer c.Close()
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: make([]byte, 5000)}).FirstErr(); !errors.Is(err, kerr.MessageTooLarge) {
		return fmt.Errorf("a record too large gave %v", err)
	}
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: name(), Value: []byte("v")}).FirstErr(); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("an unknown topic gave %v", err)
	}
	return nil
}
