package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// interval is the time between two scrapes, and between two evaluations of rules:
// the default of the Prometheus Operator.
const interval = 30 * time.Second

// target is a process that is scraped.
type target struct {
	// Labels are what Prometheus adds to each series of the target.
	Labels map[string]string `json:"labels"`
	// Exposed is what it has to say, oldest first. It is scraped from the first on,
	// and says the same until the next.
	Exposed []exposure `json:"exposed"`
}

// exposure is what a target says from a minute on.
type exposure struct {
	Minute float64 `json:"minute"`
	// Text is in a text format of Prometheus; nil if nobody answers.
	Text *string `json:"text"`
	// ContentType says which format it is.
	ContentType string `json:"contentType"`
}

// tape holds the samples of all scrapes.
type tape struct {
	start, end time.Time
	series     map[string]*series // by the text of its labels
}

type series struct {
	labels  labels.Labels
	samples []chunks.Sample
}

type sample struct {
	labels labels.Labels
	value  float64
}

// record scrapes all targets as Prometheus does: with the series "up", and with a
// mark of staleness for each series that is there no more.
func record(asked question) (*tape, error) {
	start := time.UnixMilli(int64(asked.Start * 1000)).UTC()
	recorded := &tape{start: start, end: start.Add(minutes(asked.Minutes)), series: map[string]*series{}}
	for _, target := range asked.Targets {
		said := make([][]sample, len(target.Exposed))
		for i, exposure := range target.Exposed {
			samples, err := parse(exposure, target.Labels)
			if err != nil {
				return nil, fmt.Errorf("what %v exposes in minute %v: %w", target.Labels, exposure.Minute, err)
			}
			said[i] = samples
		}
		recorded.scrape(target, said)
	}
	return recorded, nil
}

func (t *tape) scrape(target target, said [][]sample) {
	up := target.add(labels.FromStrings(labels.MetricName, "up"))
	before := map[string]labels.Labels{}
	for at := t.start; !at.After(t.end); at = at.Add(interval) {
		current := -1
		for i, exposure := range target.Exposed {
			if !t.start.Add(minutes(exposure.Minute)).After(at) {
				current = i
			}
		}
		if current < 0 {
			continue
		}
		isUp := 0.0
		if target.Exposed[current].Text != nil {
			isUp = 1
		}
		t.append(up, at, isUp)
		now := map[string]labels.Labels{}
		for _, sample := range said[current] {
			t.append(sample.labels, at, sample.value)
			now[sample.labels.String()] = sample.labels
		}
		for key, gone := range before {
			if _, ok := now[key]; !ok {
				t.append(gone, at, math.Float64frombits(value.StaleNaN))
			}
		}
		before = now
	}
}

func (t *tape) append(of labels.Labels, at time.Time, value float64) {
	key := of.String()
	if t.series[key] == nil {
		t.series[key] = &series{labels: of}
	}
	t.series[key].samples = append(t.series[key].samples, point{at.UnixMilli(), value})
}

// add puts the target's labels on a series. Where the series has such a label
// already, Prometheus keeps it as exported_NAME.
func (t *target) add(to labels.Labels) labels.Labels {
	builder := labels.NewBuilder(to)
	for name, value := range t.Labels {
		if own := to.Get(name); own != "" {
			builder.Set("exported_"+name, own)
		}
		builder.Set(name, value)
	}
	return builder.Labels()
}

func parse(exposure exposure, ofTarget map[string]string) ([]sample, error) {
	if exposure.Text == nil {
		return nil, nil
	}
	symbols := labels.NewSymbolTable()
	parser, err := textparse.New([]byte(*exposure.Text), exposure.ContentType, symbols, textparse.ParserOptions{})
	if err != nil {
		return nil, err
	}
	source := target{Labels: ofTarget}
	var samples []sample
	for {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			return samples, nil
		}
		if err != nil {
			return nil, err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var own labels.Labels
		parser.Labels(&own)
		_, _, value := parser.Series()
		samples = append(samples, sample{source.add(own), value})
	}
}

// Querier makes a tape what the engine reads from.
func (t *tape) Querier(_, _ int64) (storage.Querier, error) {
	read := func(_ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
		return &seriesSet{left: t.matching(matchers)}
	}
	return &storage.MockQuerier{SelectMockFunction: read}, nil
}

// seriesSet is what is selected from a tape.
type seriesSet struct {
	left    []*series
	current *series
}

func (s *seriesSet) Next() bool {
	if len(s.left) == 0 {
		return false
	}
	s.current, s.left = s.left[0], s.left[1:]
	return true
}

func (s *seriesSet) At() storage.Series {
	return storage.NewListSeries(s.current.labels, s.current.samples)
}

func (s *seriesSet) Err() error { return nil }

func (s *seriesSet) Warnings() annotations.Annotations { return nil }

func (t *tape) matching(matchers []*labels.Matcher) []*series {
	var found []*series
next:
	for _, series := range t.series {
		for _, matcher := range matchers {
			if !matcher.Matches(series.labels.Get(matcher.Name)) {
				continue next
			}
		}
		found = append(found, series)
	}
	return found
}

func minutes(count float64) time.Duration {
	return time.Duration(count * float64(time.Minute))
}

// point is one sample of a series.
type point struct {
	at    int64
	value float64
}

func (p point) ST() int64                     { return 0 }
func (p point) T() int64                      { return p.at }
func (p point) F() float64                    { return p.value }
func (p point) H() *histogram.Histogram       { return nil }
func (p point) FH() *histogram.FloatHistogram { return nil }
func (p point) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (p point) Copy() chunks.Sample           { return p }
