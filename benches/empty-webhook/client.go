package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// A caller makes one call after another on a connection of its own.
type caller struct {
	client  *http.Client
	url     string
	token   string
	body    []byte
	status  int
	took    []time.Duration
	failure error
}

// result is what comes of all callers; times are in microseconds.
type result struct {
	Answered  int     `json:"answered"`
	PerSecond float64 `json:"perSecond"`
	P50       int64   `json:"p50"`
	P99       int64   `json:"p99"`
}

// call sends the same body again and again, over HTTP/1.1 with connections that are
// kept, as the API server calls a Service (kubernetes,
// apiserver/pkg/util/webhook/client.go), and prints how it went.
func call(arguments []string) error {
	flags := flag.NewFlagSet("call", flag.ExitOnError)
	ca := flags.String("ca", "", "PEM file of the CA")
	bodyFile := flags.String("body", "", "file to send")
	connections := flags.Int("connections", 1, "calls at once")
	duration := flags.Duration("for", time.Second, "how long")
	token := flags.String("token", "", "bearer token")
	status := flags.Int("status", http.StatusOK, "the answer's status code")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	body, err := os.ReadFile(*bodyFile)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", *ca)
	}

	callers := make([]*caller, *connections)
	for i := range callers {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots},
			// Not nil: HTTP/1.1 only.
			TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
		}
		callers[i] = &caller{
			client: &http.Client{Transport: transport, Timeout: time.Minute},
			url:    flags.Arg(0), token: *token, body: body, status: *status,
		}
	}
	// Connections are made before the clock starts, a few at a time.
	for some := range slices.Chunk(callers, 16) {
		together(some, func(c *caller) { c.failure = c.once() })
	}
	started := time.Now()
	deadline := started.Add(*duration)
	together(callers, func(c *caller) {
		for c.failure == nil && time.Now().Before(deadline) {
			begun := time.Now()
			c.failure = c.once()
			c.took = append(c.took, time.Since(begun))
		}
	})
	elapsed := time.Since(started)

	var took []time.Duration
	for _, c := range callers {
		if c.failure != nil {
			return c.failure
		}
		took = append(took, c.took...)
	}
	slices.Sort(took)
	at := func(percent int) int64 { return took[(len(took)-1)*percent/100].Microseconds() }
	return json.NewEncoder(os.Stdout).Encode(result{
		Answered:  len(took) + len(callers),
		PerSecond: float64(len(took)) / elapsed.Seconds(),
		P50:       at(50),
		P99:       at(99),
	})
}

func together(callers []*caller, work func(*caller)) {
	var group sync.WaitGroup
	for _, c := range callers {
		group.Go(func() { work(c) })
	}
	group.Wait()
}

func (c *caller) once() error {
	request, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(c.body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != c.status {
		return fmt.Errorf("%s: %s", response.Status, answer)
	}
	return nil
}
