package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const count = 60

func values(name string) []string {
	all := make([]string, count)
	for number := range all {
		all[number] = fmt.Sprintf("%s %d", name, number)
	}
	return all
}

func administerCluster(ctx context.Context, topic string) error {
	admin := kadm.NewClient(client())
	defer admin.Close()
	if made, err := admin.CreateTopic(ctx, 3, 3, nil, topic); err != nil || made.Err != nil {
		return fmt.Errorf("%v %v", err, made.Err)
	}
	metadata, err := admin.Metadata(ctx, topic)
	if err != nil {
		return err
	}
	found := metadata.Topics[topic]
	if len(metadata.Brokers) != 3 || metadata.Controller < 1 || found.Err != nil || len(found.Partitions) != 3 {
		return fmt.Errorf("metadata %v", metadata)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	return ends.Error()
}

// Reads as a group until all that is expected has come, and commits it.
func consumeAsGroup(ctx context.Context, topic, group string, expected []string) error {
	member := client(
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	defer member.Close()
	missing := map[string]bool{}
	for _, value := range expected {
		missing[value] = true
	}
	for len(missing) > 0 {
		fetches := member.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d records did not come: %w", len(missing), err)
		}
		for _, record := range fetches.Records() {
			value := string(record.Value)
			if !missing[value] {
				return fmt.Errorf("%q was not expected", value)
			}
			delete(missing, value)
		}
	}
	if err := member.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	admin := kadm.NewClient(client())
	defer admin.Close()
	committed, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return err
	}
	if err := committed.Error(); err != nil {
		return err
	}
	for partition := range int32(3) {
		if at, found := committed.Lookup(topic, partition); !found || at.At < 1 {
			return fmt.Errorf("partition %d has committed %v", partition, at)
		}
	}
	return nil
}

func records(topic, name string) []*kgo.Record {
	var all []*kgo.Record
	for number, value := range values(name) {
		all = append(all, &kgo.Record{Topic: topic, Partition: int32(number % 3), Value: []byte(value)})
	}
	return all
}

func groupOf(ctx context.Context, topic string) error {
	producer := client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	if err := producer.ProduceSync(ctx, records(topic, "plain")...).FirstErr(); err != nil {
		return err
	}
	return consumeAsGroup(ctx, topic, topic+"-group", values("plain"))
}

func transactionsOf(ctx context.Context, topic string) error {
	producer := client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(topic+"-transaction"))
	defer producer.Close()
	for _, kept := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := producer.BeginTransaction(); err != nil {
			return err
		}
		name := map[kgo.TransactionEndTry]string{kgo.TryAbort: "aborted", kgo.TryCommit: "kept"}[kept]
		if err := producer.ProduceSync(ctx, records(topic, name)...).FirstErr(); err != nil {
			return err
		}
		if err := producer.EndTransaction(ctx, kept); err != nil {
			return err
		}
	}
	return consumeAsGroup(ctx, topic, topic+"-committed", append(values("plain"), values("kept")...))
}

// Names begin with the prefix.
func againstCluster(ctx context.Context, prefix string, report func(string, error)) {
	topic := prefix + "-topic"
	report("administer", administerCluster(ctx, topic))
	report("group", groupOf(ctx, topic))
	report("transactions", transactionsOf(ctx, topic))
}
