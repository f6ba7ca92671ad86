// sarama against a cluster: admin, a group's consumer, and transactions. Prints a line "ok NAME" or
// "failed NAME: reason" a check. Arguments: the bootstrap address, and what its names begin with.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

const count = 60

var (
	addresses     []string
	prefix, topic string
)

func values(name string) []string {
	all := make([]string, count)
	for number := range all {
		all[number] = fmt.Sprintf("%s %d", name, number)
	}
	return all
}

func config() *sarama.Config {
	made := sarama.NewConfig()
	made.ClientID = prefix
	made.Version = sarama.V3_6_0_0
	made.Metadata.Retry.Max = 50
	made.Producer.RequiredAcks = sarama.WaitForAll
	made.Producer.Return.Successes = true
	made.Producer.Retry.Max = 50
	made.Consumer.Offsets.Initial = sarama.OffsetOldest
	made.Consumer.IsolationLevel = sarama.ReadCommitted
	return made
}

func administer(context.Context) error {
	admin, err := sarama.NewClusterAdmin(addresses, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	retention := "86400009"
	detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 3, ConfigEntries: map[string]*string{"retention.ms": &retention}}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		return err
	}
	if err := admin.CreateTopic(topic, detail, false); !errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return fmt.Errorf("made twice: %v", err)
	}
	described, err := admin.DescribeTopics([]string{topic})
	if err != nil {
		return err
	}
	if len(described) != 1 || len(described[0].Partitions) != 3 || len(described[0].Partitions[0].Replicas) != 3 {
		return fmt.Errorf("described as %v", described)
	}
	brokers, controller, err := admin.DescribeCluster()
	if err != nil {
		return err
	}
	if len(brokers) != 3 || controller < 1 {
		return fmt.Errorf("brokers %v, controller %d", brokers, controller)
	}
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic, ConfigNames: []string{"retention.ms"}})
	if err != nil {
		return err
	}
	if len(entries) != 1 || entries[0].Value != retention {
		return fmt.Errorf("configuration %v", entries)
	}
	return nil
}

// A group's member, which tells of every value that it sees.
type member struct {
	missing map[string]bool
	seen    chan string
}

func (*member) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			session.MarkMessage(message, "")
			m.seen <- string(message.Value)
		case <-session.Context().Done():
			return nil
		}
	}
}

func consume(ctx context.Context, group string, expected []string) error {
	// What is marked is committed at the latest when the group is left.
	if err := readAll(ctx, group, expected); err != nil {
		return err
	}
	return committed(group)
}

func readAll(ctx context.Context, group string, expected []string) error {
	joined, err := sarama.NewConsumerGroup(addresses, group, config())
	if err != nil {
		return err
	}
	defer joined.Close()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m := &member{missing: map[string]bool{}, seen: make(chan string, 10*count)}
	for _, value := range expected {
		m.missing[value] = true
	}
	failed := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := joined.Consume(ctx, []string{topic}, m); err != nil {
				failed <- err
				return
			}
		}
	}()
	for len(m.missing) > 0 {
		select {
		case value := <-m.seen:
			if !m.missing[value] {
				return fmt.Errorf("%q was not expected", value)
			}
			delete(m.missing, value)
		case err := <-failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d records did not come: %w", len(m.missing), ctx.Err())
		}
	}
	return nil
}

// Whether the group has committed something in every partition.
func committed(group string) error {
	admin, err := sarama.NewClusterAdmin(addresses, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	offsets, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {0, 1, 2}})
	if err != nil {
		return err
	}
	for partition := range int32(3) {
		block := offsets.GetBlock(topic, partition)
		if block == nil || block.Offset < 1 {
			return fmt.Errorf("partition %d has committed %v", partition, block)
		}
	}
	return nil
}

func messages(name string) []*sarama.ProducerMessage {
	var all []*sarama.ProducerMessage
	for number, value := range values(name) {
		all = append(all, &sarama.ProducerMessage{Topic: topic, Partition: int32(number % 3), Value: sarama.StringEncoder(value)})
	}
	return all
}

func group(ctx context.Context) error {
	settings := config()
	settings.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(addresses, settings)
	if err != nil {
		return err
	}
	defer producer.Close()
	if err := producer.SendMessages(messages("plain")); err != nil {
		return err
	}
	return consume(ctx, prefix+"-group", values("plain"))
}

func transactions(ctx context.Context) error {
	settings := config()
	settings.Producer.Partitioner = sarama.NewManualPartitioner
	settings.Producer.Idempotent = true
	settings.Producer.Transaction.ID = prefix + "-transaction"
	settings.Net.MaxOpenRequests = 1
	producer, err := sarama.NewSyncProducer(addresses, settings)
	if err != nil {
		return err
	}
	defer producer.Close()
	for _, kept := range []bool{false, true} {
		name := map[bool]string{false: "aborted", true: "kept"}[kept]
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		if err := producer.SendMessages(messages(name)); err != nil {
			return err
		}
		end := producer.AbortTxn
		if kept {
			end = producer.CommitTxn
		}
		if err := end(); err != nil {
			return err
		}
	}
	return consume(ctx, prefix+"-committed", append(values("plain"), values("kept")...))
}

func main() {
	addresses, prefix = strings.Split(os.Args[1], ","), os.Args[2]
	topic = prefix + "-topic"
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	code := 0
	for _, check := range []struct {
		name string
		run  func(context.Context) error
	}{{"administer", administer}, {"group", group}, {"transactions", transactions}} {
		if err := check.run(ctx); err != nil {
			fmt.Printf("failed %s: %v\n", check.name, err)
			code = 1
		} else {
			fmt.Printf("ok %s\n", check.name)
		}
	}
	os.Exit(code)
}
