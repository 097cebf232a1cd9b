// Sarama, a client of its own in Go, against the broker named by BOOTSTRAP.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

var bootstrap = []string{os.Getenv("BOOTSTRAP")}

const patience = 60 * time.Second

func main() {
	tests := []struct {
		name string
		run  func() error
	}{
		{"every_compression_round_trips", compressions},
		{"topics_are_created_once_and_described", topics},
		{"two_members_share_and_resume_over_a_kill", shares},
		{"transactions_are_whole_or_not_seen", transactions},
		{"a_copy_in_transactions_has_each_record_once_over_a_kill", copies},
	}
	failed := 0
	for _, t := range tests {
		if err := t.run(); err != nil {
			failed++
			fmt.Printf("not ok %s: %v\n", t.name, err)
		} else {
			fmt.Printf("ok %s\n", t.name)
		}
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func name() string { return fmt.Sprintf("sarama-%08x", rand.Uint32()) }

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Producer.Return.Successes = true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Retry.Max = 100
	c.Metadata.Retry.Max = 100
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	return c
}

// transactional is a producer of transactions; sarama wants no second request in flight then.
func transactional(id string) (sarama.SyncProducer, error) {
	c := config()
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Transaction.ID = id
	c.Producer.Transaction.Retry.Max = 100
	c.Net.MaxOpenRequests = 1
	return sarama.NewSyncProducer(bootstrap, c)
}

func create(topic string, partitions int32) error {
	admin, err := sarama.NewClusterAdmin(bootstrap, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: -1}, false)
}

func ctl(actions ...string) error {
	for _, action := range actions {
		words := append(strings.Split(os.Getenv("BROKER_CTL"), " "), action)
		if err := exec.Command(words[0], words[1:]...).Run(); err != nil {
			return err
		}
	}
	return nil
}

func produce(topic string, partitions int32, values []string, codec sarama.CompressionCodec) error {
	c := config()
	c.Producer.Compression = codec
	p, err := sarama.NewSyncProducer(bootstrap, c)
	if err != nil {
		return err
	}
	defer p.Close()
	var messages []*sarama.ProducerMessage
	for i, value := range values {
		messages = append(messages, &sarama.ProducerMessage{Topic: topic, Partition: int32(i) % partitions,
			Key: sarama.StringEncoder("k" + value), Value: sarama.StringEncoder(value),
			Headers: []sarama.RecordHeader{{Key: []byte("h"), Value: []byte(value)}}})
	}
	return p.SendMessages(messages)
}

// read gives the first count records of partition 0.
func read(topic string, count int, isolation sarama.IsolationLevel) ([]*sarama.ConsumerMessage, error) {
	c := config()
	c.Consumer.IsolationLevel = isolation
	consumer, err := sarama.NewConsumer(bootstrap, c)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	part, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer part.Close()
	var messages []*sarama.ConsumerMessage
	for len(messages) < count {
		select {
		case m := <-part.Messages():
			messages = append(messages, m)
		case <-time.After(patience):
			return nil, fmt.Errorf("%d of %d records came", len(messages), count)
		}
	}
	return messages, nil
}

func mustBe(topic string, want []string, isolation sarama.IsolationLevel) error {
	messages, err := read(topic, len(want), isolation)
	if err != nil {
		return err
	}
	for i, m := range messages {
		if string(m.Value) != want[i] {
			return fmt.Errorf("record %d is %q, not %q", i, m.Value, want[i])
		}
	}
	return nil
}

func numbers(count int) []string {
	var values []string
	for i := 0; i < count; i++ {
		values = append(values, fmt.Sprint(i))
	}
	return values
}

func compressions() error {
	for codec := sarama.CompressionNone; codec <= sarama.CompressionZSTD; codec++ {
		topic := name()
		if err := create(topic, 1); err != nil {
			return err
		}
		if err := produce(topic, 1, numbers(200), codec); err != nil {
			return err
		}
		messages, err := read(topic, 200, sarama.ReadUncommitted)
		if err != nil {
			return fmt.Errorf("%v: %w", codec, err)
		}
		for i, m := range messages {
			want := fmt.Sprint(i)
			if string(m.Value) != want || string(m.Key) != "k"+want || string(m.Headers[0].Value) != want {
				return fmt.Errorf("%v: record %d came as %q, %q", codec, i, m.Key, m.Value)
			}
		}
	}
	return nil
}

func topics() error {
	topic := name()
	if err := create(topic, 3); err != nil {
		return err
	}
	if err := create(topic, 3); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return fmt.Errorf("the second creation gave %v", err)
	}
	admin, err := sarama.NewClusterAdmin(bootstrap, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	described, err := admin.DescribeTopics([]string{topic})
	if err != nil || len(described[0].Partitions) != 3 {
		return fmt.Errorf("described as %v, %v", described, err)
	}
	return admin.DeleteTopic(topic)
}

// member reads with a group until its context ends; it commits after each record.
type member struct {
	mutex sync.Mutex
	owned int
	seen  map[string]int
}

func (m *member) Setup(s sarama.ConsumerGroupSession) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.owned = 0
	for _, partitions := range s.Claims() {
		m.owned += len(partitions)
	}
	return nil
}
func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (m *member) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		s.MarkMessage(message, "")
		s.Commit()
		m.mutex.Lock()
		m.seen[string(message.Value)]++
		m.mutex.Unlock()
	}
	return nil
}
func (m *member) state() (int, int) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.owned, len(m.seen)
}

// join starts a member; what it gives ends the member and waits for that.
func join(group, topic string) (*member, func(), error) {
	g, err := sarama.NewConsumerGroup(bootstrap, group, config())
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{seen: map[string]int{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if g.Consume(ctx, []string{topic}, m) != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
	}()
	return m, func() { cancel(); <-done; g.Close() }, nil
}

func eventually(what string, holds func() bool) error {
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%s did not come true", what)
		}
	}
	return nil
}

func shares() error {
	topic, group := name(), name()
	if err := create(topic, 4); err != nil {
		return err
	}
	a, endA, err := join(group, topic)
	if err != nil {
		return err
	}
	b, endB, err := join(group, topic)
	if err != nil {
		return err
	}
	if err := eventually("two partitions for each", func() bool {
		ownedA, _ := a.state()
		ownedB, _ := b.state()
		return ownedA == 2 && ownedB == 2
	}); err != nil {
		return err
	}
	if err := produce(topic, 4, numbers(100), sarama.CompressionNone); err != nil {
		return err
	}
	if err := eventually("half of the records for each", func() bool {
		_, seenA := a.state()
		_, seenB := b.state()
		return seenA == 50 && seenB == 50
	}); err != nil {
		return err
	}
	endA()
	endB()
	if err := ctl("kill", "start"); err != nil {
		return err
	}
	if err := produce(topic, 4, []string{"after"}, sarama.CompressionNone); err != nil {
		return err
	}
	c, endC, err := join(group, topic)
	if err != nil {
		return err
	}
	defer endC()
	if err := eventually("the record after the kill", func() bool { _, seen := c.state(); return seen > 0 }); err != nil {
		return err
	}
	if c.seen["after"] != 1 || len(c.seen) != 1 {
		return fmt.Errorf("the next member read %v", c.seen)
	}
	return nil
}

func transactions() error {
	topic := name()
	if err := create(topic, 1); err != nil {
		return err
	}
	p, err := transactional(name())
	if err != nil {
		return err
	}
	defer p.Close()
	var committed []string
	for round := 0; round < 10; round++ {
		if err := p.BeginTxn(); err != nil {
			return err
		}
		for _, suffix := range []string{"a", "b"} {
			value := fmt.Sprint(round, suffix)
			if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(value)}); err != nil {
				return err
			}
			if round%3 != 0 {
				committed = append(committed, value)
			}
		}
		end := p.CommitTxn
		if round%3 == 0 {
			end = p.AbortTxn
		}
		if err := end(); err != nil {
			return err
		}
	}
	if err := mustBe(topic, committed, sarama.ReadCommitted); err != nil {
		return err
	}
	_, err = read(topic, 20, sarama.ReadUncommitted)
	return err
}

// copySome copies the records from one offset to before another in transactions of five, with their offsets in the group.
func copySome(source, target, group string, from, to int64) error {
	p, err := transactional(group)
	if err != nil {
		return err
	}
	defer p.Close()
	messages, err := read(source, int(to), sarama.ReadCommitted)
	if err != nil {
		return err
	}
	for ; from < to; from += 5 {
		if err := p.BeginTxn(); err != nil {
			return err
		}
		for _, m := range messages[from : from+5] {
			if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: target, Value: sarama.ByteEncoder(m.Value)}); err != nil {
				return err
			}
			if err := p.AddMessageToTxn(m, group, nil); err != nil {
				return err
			}
		}
		if err := p.CommitTxn(); err != nil {
			return err
		}
	}
	return nil
}

func committedOffset(group, topic string) (int64, error) {
	admin, err := sarama.NewClusterAdmin(bootstrap, config())
	if err != nil {
		return 0, err
	}
	defer admin.Close()
	var block *sarama.OffsetFetchResponseBlock
	err = eventually("an offset from the group", func() bool {
		answer, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0}})
		if err != nil || answer.Err != sarama.ErrNoError { // it is still loaded
			return false
		}
		block = answer.GetBlock(topic, 0)
		return block != nil && block.Err == sarama.ErrNoError
	})
	if err != nil {
		return 0, err
	}
	return block.Offset, nil
}

func copies() error {
	source, target, group := name(), name(), name()
	for _, topic := range []string{source, target} {
		if err := create(topic, 1); err != nil {
			return err
		}
	}
	if err := produce(source, 1, numbers(100), sarama.CompressionNone); err != nil {
		return err
	}
	if err := copySome(source, target, group, 0, 50); err != nil {
		return err
	}
	if err := ctl("kill", "start"); err != nil {
		return err
	}
	from, err := committedOffset(group, source)
	if err != nil || from != 50 {
		return fmt.Errorf("the group's offset is %d, %v", from, err)
	}
	if err := copySome(source, target, group, from, 100); err != nil {
		return err
	}
	return mustBe(target, numbers(100), sarama.ReadCommitted)
}
