package measure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"gapless.dev/tests/lab/load"
)

// Record is what one run showed: a line of the JSON file, from which table and
// picture are made. All times are in seconds since just before kubectl set image,
// if their name does not say otherwise.
type Record struct {
	Variant string `json:"variant"`
	// Run counts from 1.
	Run int `json:"run"`
	// Kubernetes is the API server's version.
	Kubernetes string    `json:"kubernetes"`
	Load       load.Mode `json:"load"`
	// Valid is false if the run says nothing about the variant, or could not be
	// made; then InvalidReasons has why.
	Valid          bool     `json:"valid"`
	InvalidReasons []string `json:"invalid_reasons"`

	// Sent is the number of requests in the whole run, Failed that of those which
	// got no complete answer with status 200, and Kinds says what they got.
	Sent   int               `json:"sent"`
	Failed int               `json:"failed"`
	Kinds  map[load.Kind]int `json:"kinds"`
	// OutageSeconds is the longest time in which no request succeeded that was
	// sent: from the first that failed to the next that succeeded.
	OutageSeconds float64 `json:"outage_seconds"`
	// FailingSeconds is from the first request that failed to the last.
	FailingSeconds float64 `json:"failing_seconds"`
	// RolloutSeconds is when kubectl rollout status reported success.
	RolloutSeconds float64 `json:"rollout_seconds"`
	// SettledSeconds is when the old pods were gone and all new ones answered.
	SettledSeconds float64 `json:"settled_seconds"`
	// LatencyMS is that of the requests that succeeded.
	LatencyMS Latency `json:"latency_ms"`

	// Rate is in requests per second; Capacity is how many the generator can send
	// and the application answer.
	Rate     int     `json:"rate"`
	Capacity float64 `json:"capacity"`
	// MaxLagMS is how much later than due a request was started at worst.
	MaxLagMS float64 `json:"max_lag_ms"`
	// MaxInFlight is how many requests were under way at the same time.
	MaxInFlight int `json:"max_in_flight"`
	// GeneratorFaults counts requests that the generator could not send. They are
	// not in Sent.
	GeneratorFaults int `json:"generator_faults"`

	// LoadStart (negative) and LoadEnd are when the first and the last request
	// were due, and SentBySecond counts them for each second from LoadStart on.
	LoadStart    float64 `json:"load_start"`
	LoadEnd      float64 `json:"load_end"`
	SentBySecond []int   `json:"sent_by_second"`
	// Failures are all, in the order in which they were due.
	Failures []Failure `json:"failures"`
}

// Latency is in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Failure is a request that was lost, in JSON [due, kind].
type Failure struct {
	Due  float64
	Kind load.Kind
}

// MarshalJSON writes an array, for there are many of them.
func (f Failure) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{f.Due, f.Kind})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Failure) UnmarshalJSON(text []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	if len(parts) != 2 {
		return fmt.Errorf("a failure is [seconds, kind], not %s", text)
	}
	return errors.Join(json.Unmarshal(parts[0], &f.Due), json.Unmarshal(parts[1], &f.Kind))
}

// readRecords reads all lines.
func readRecords(reader io.Reader) ([]Record, error) {
	var records []Record
	decoder := json.NewDecoder(reader)
	decoder.DisallowUnknownFields()
	for {
		var record Record
		err := decoder.Decode(&record)
		if err == io.EOF {
			return records, nil
		}
		if err != nil {
			return nil, fmt.Errorf("run %d of the file: %w", len(records)+1, err)
		}
		if variantOf(record.Variant) == nil {
			return nil, fmt.Errorf("run %d of the file: there is no variant %q", len(records)+1, record.Variant)
		}
		records = append(records, record)
	}
}
