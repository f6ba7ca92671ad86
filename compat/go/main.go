// franz-go against a broker: admin, each codec with and without idempotence, consuming by assignment. With
// a second argument, against a cluster of three: admin, groups and transactions (groups.go). With `topics` and
// a login it prints the topics that the user sees (login.go).
// Prints a line "ok NAME" or "failed NAME: reason" a check; its caller looks at the stored batches.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var bootstrap string

func client(options ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap))...)
	if err != nil {
		panic(err)
	}
	return made
}

type row struct {
	key, value []byte
	headers    []kgo.RecordHeader
	timestamp  int64
}

func roundTrip(ctx context.Context, topic string, codec kgo.CompressionCodec, idempotent bool) error {
	admin := kadm.NewClient(client())
	defer admin.Close()
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, topic); err != nil {
		return err
	}
	options := []kgo.Opt{kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if !idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	producer := client(options...)
	defer producer.Close()
	// Recent enough for retention.
	start := time.Now().Add(-time.Hour).UnixMilli()
	var sent []row
	var records []*kgo.Record
	for n := range 300 {
		r := row{value: bytes.Repeat([]byte(fmt.Sprintf("value \x00\xff %d ", n)), 5), timestamp: start + int64(n)}
		if n%5 != 0 {
			r.key = []byte(fmt.Sprintf("key %d", n))
		}
		if n%2 == 1 {
			r.headers = []kgo.RecordHeader{{Key: "same", Value: []byte("1")}, {Key: "same", Value: []byte("2")}}
		}
		sent = append(sent, r)
		records = append(records, &kgo.Record{Topic: topic, Key: r.key, Value: r.value, Headers: r.headers, Timestamp: time.UnixMilli(r.timestamp)})
	}
	if err := producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	consumer := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(0)}}))
	defer consumer.Close()
	var found []row
	for len(found) < len(sent) {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d records: %w", len(found), err)
		}
		for _, record := range fetches.Records() {
			if record.Offset != int64(len(found)) {
				return fmt.Errorf("offset %d where %d was due", record.Offset, len(found))
			}
			found = append(found, row{record.Key, record.Value, record.Headers, record.Timestamp.UnixMilli()})
		}
	}
	for n := range sent {
		if len(sent[n].headers) == 0 {
			sent[n].headers, found[n].headers = nil, nil
		}
		if !reflect.DeepEqual(sent[n], found[n]) {
			return fmt.Errorf("record %d: sent %v, found %v", n, sent[n], found[n])
		}
	}
	return nil
}

func administer(ctx context.Context) error {
	admin := kadm.NewClient(client())
	defer admin.Close()
	const topic = "franz-admin"
	value := "12345"
	if _, err := admin.CreateTopic(ctx, 2, 1, map[string]*string{"retention.ms": &value}, topic); err != nil {
		return err
	}
	if _, err := admin.CreateTopic(ctx, 2, 1, nil, topic); !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("made twice: %v", err)
	}
	grown, err := admin.CreatePartitions(ctx, 2, topic)
	if err == nil {
		err = grown.Error()
	}
	if err != nil {
		return fmt.Errorf("create partitions: %w", err)
	}
	metadata, err := admin.Metadata(ctx, topic)
	if err != nil {
		return err
	}
	if metadata.Controller != 0 || len(metadata.Brokers) != 1 {
		return fmt.Errorf("metadata %v", metadata)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return err
	}
	described, err := configs.On(topic, nil)
	if err != nil {
		return err
	}
	seen := false
	for _, config := range described.Configs {
		seen = seen || config.Key == "retention.ms" && config.MaybeValue() == "12345"
	}
	if !seen {
		return fmt.Errorf("retention.ms is not 12345: %v", described.Configs)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if end, ok := ends.Lookup(topic, 1); !ok || end.Offset != 0 || end.Err != nil {
		return fmt.Errorf("end offset %v", end)
	}
	deleted, err := admin.DeleteTopics(ctx, topic)
	if err == nil {
		err = deleted.Error()
	}
	return err
}

func main() {
	bootstrap = os.Args[1]
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	code := 0
	report := func(name string, err error) {
		if err != nil {
			fmt.Printf("failed %s: %v\n", name, err)
			code = 1
		} else {
			fmt.Printf("ok %s\n", name)
		}
	}
	if len(os.Args) > 3 && os.Args[2] == "topics" {
		os.Exit(listTopics(ctx, os.Args[3:]))
	}
	if len(os.Args) > 2 {
		againstCluster(ctx, os.Args[2], report)
		os.Exit(code)
	}
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
	for _, codec := range codecs {
		for _, idempotent := range []bool{false, true} {
			name := fmt.Sprintf("franz-%s-%s", codec.name, map[bool]string{false: "plain", true: "idempotent"}[idempotent])
			report(name, roundTrip(ctx, name, codec.codec, idempotent))
		}
	}
	report("franz-admin", administer(ctx))
	os.Exit(code)
}
