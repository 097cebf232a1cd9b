//go:build newest

package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func init() {
	newest = []test{
		{"two_members_of_the_consumer_protocol_share_and_one_leaves", func(ctx context.Context) error {
			return shares(ctx, kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
		}},
		{"a_share_group_releases_rejects_and_renews", shareGroup},
	}
}

func configureGroup(ctx context.Context, group, key, value string) error {
	c := client()
	defer c.Close()
	request := kmsg.NewPtrIncrementalAlterConfigsRequest()
	request.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: group,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Op: kmsg.IncrementalAlterConfigOpSet, Value: &value}}}}
	response, err := request.RequestWith(ctx, c)
	if err == nil && response.Resources[0].ErrorCode != 0 {
		err = fmt.Errorf("configuring a group gave %d", response.Resources[0].ErrorCode)
	}
	return err
}

// What the members of a share group were given, and made of it.
type ledger struct {
	sync.Mutex
	given    map[int][]int32 // value -> its delivery counts
	accepted map[int]int
	renewed  int
	refused  []error
}

func (l *ledger) decide(r *kgo.Record) {
	l.Lock()
	defer l.Unlock()
	value, _ := strconv.Atoi(string(r.Value))
	l.given[value] = append(l.given[value], r.DeliveryCount())
	switch {
	case value%10 == 0 && len(l.given[value]) == 1:
		r.Ack(kgo.AckRelease)
	case value%10 == 1:
		r.Ack(kgo.AckReject)
	default:
		if value%10 == 2 {
			r.Ack(kgo.AckRenew)
			l.renewed++
		}
		r.Ack(kgo.AckAccept)
		l.accepted[value]++
	}
}

func (l *ledger) member(ctx context.Context, topic, group string) *kgo.Client {
	c := client(kgo.ShareGroup(group), kgo.ConsumeTopics(topic), kgo.ShareMaxRecords(20), kgo.ShareAckCallback(
		func(_ *kgo.Client, results kgo.ShareAckResults) {
			l.Lock()
			defer l.Unlock()
			if err := results.Error(); err != nil {
				l.refused = append(l.refused, err)
			}
		}))
	go func() {
		for ctx.Err() == nil {
			fetches := c.PollFetches(ctx)
			if fetches.IsClientClosed() {
				return
			}
			fetches.EachRecord(l.decide)
		}
	}()
	return c
}

// Of 200 records a tenth is released once, a tenth rejected, a tenth renewed before it is accepted.
func shareGroup(ctx context.Context) error {
	const count = 200
	topic, group := name(), name()
	if err := create(ctx, topic, 2, nil); err != nil {
		return err
	}
	if err := configureGroup(ctx, group, "share.auto.offset.reset", "earliest"); err != nil {
		return err
	}
	if err := produce(ctx, topic, 0, count, kgo.MaxBufferedRecords(10)); err != nil {
		return err
	}
	l := ledger{given: map[int][]int32{}, accepted: map[int]int{}}
	members := []*kgo.Client{l.member(ctx, topic, group), l.member(ctx, topic, group)}
	done := func() bool {
		l.Lock()
		defer l.Unlock()
		return len(l.accepted) == count-count/10 && len(l.given) == count
	}
	for !done() {
		if ctx.Err() != nil {
			return fmt.Errorf("%d records given, %d accepted", len(l.given), len(l.accepted))
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, member := range members {
		if err := member.FlushAcks(ctx); err != nil {
			return err
		}
		member.Close()
	}
	return l.check()
}

func (l *ledger) check() error {
	l.Lock()
	defer l.Unlock()
	if len(l.refused) > 0 {
		return fmt.Errorf("%d acknowledgements were refused: %w", len(l.refused), l.refused[0])
	}
	for value, counts := range l.given {
		wanted := []int32{1}
		if value%10 == 0 {
			wanted = []int32{1, 2}
		}
		if fmt.Sprint(counts) != fmt.Sprint(wanted) {
			return fmt.Errorf("%d was given with the delivery counts %v", value, counts)
		}
	}
	for value, times := range l.accepted {
		if times != 1 {
			return fmt.Errorf("%d was accepted %d times", value, times)
		}
	}
	if l.renewed != 20 {
		return fmt.Errorf("%d were renewed", l.renewed)
	}
	return nil
}
