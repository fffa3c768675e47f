// Command rw2 sends one remote write 2.0 request, read as JSON from standard input, through the
// client that the Prometheus project gives to senders, and prints what that client made of the
// answer: {"samples":1,"histograms":0,"exemplars":0,"retries":0,"error":""}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
	"google.golang.org/protobuf/encoding/protojson"
)

type outcome struct {
	Samples    int    `json:"samples"`
	Histograms int    `json:"histograms"`
	Exemplars  int    `json:"exemplars"`
	Retries    int    `json:"retries"`
	Error      string `json:"error"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: rw2 URL < request.json")
		os.Exit(2)
	}
	sent, err := send(os.Args[1], os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(sent); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// send makes the request and sends it; an answer that refuses it is part of the outcome.
func send(url string, input io.Reader) (outcome, error) {
	request, err := readRequest(input)
	if err != nil {
		return outcome{}, err
	}
	// Few and short retries: a test waits for the end of them.
	backoff := remote.BackoffConfig{Min: 50 * time.Millisecond, Max: 200 * time.Millisecond, MaxRetries: 3}
	client, err := remote.NewAPI(url, remote.WithAPIBackoff(backoff))
	if err != nil {
		return outcome{}, err
	}
	var sent outcome
	count := remote.WithWriteRetryCallback(func(error) { sent.Retries++ })
	stats, err := client.Write(context.Background(), remote.WriteV2MessageType, request, count)
	sent.Samples, sent.Histograms, sent.Exemplars = stats.Samples, stats.Histograms, stats.Exemplars
	if err != nil {
		sent.Error = err.Error()
	}
	return sent, nil
}

// readRequest reads the protocol's message in its own JSON mapping, so that a test can also say
// what no sane sender would.
func readRequest(input io.Reader) (*writev2.Request, error) {
	text, err := io.ReadAll(input)
	if err != nil {
		return nil, err
	}
	request := &writev2.Request{}
	if err := protojson.Unmarshal(text, request); err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	return request, nil
}
