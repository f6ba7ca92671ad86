package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Prints the names of the topics as JSON, or the error of the login; returns the exit code. Arguments: mechanism,
// user, password, and the file of the authorities for TLS or nothing.
func listTopics(ctx context.Context, arguments []string) int {
	mechanism, user, password, authorities := arguments[0], arguments[1], arguments[2], arguments[3]
	mechanisms := map[string]sasl.Mechanism{
		"PLAIN":         plain.Auth{User: user, Pass: password}.AsMechanism(),
		"SCRAM-SHA-256": scram.Auth{User: user, Pass: password}.AsSha256Mechanism(),
		"SCRAM-SHA-512": scram.Auth{User: user, Pass: password}.AsSha512Mechanism(),
	}
	options := []kgo.Opt{kgo.SASL(mechanisms[mechanism])}
	if authorities != "" {
		pem, err := os.ReadFile(authorities)
		if err != nil {
			panic(err)
		}
		trusted := x509.NewCertPool()
		trusted.AppendCertsFromPEM(pem)
		options = append(options, kgo.DialTLSConfig(&tls.Config{RootCAs: trusted, ServerName: "localhost"}))
	}
	admin := kadm.NewClient(client(options...))
	defer admin.Close()
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	names, err := json.Marshal(topics.Names())
	if err != nil {
		panic(err)
	}
	fmt.Println(string(names))
	return 0
}
