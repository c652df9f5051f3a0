// Package measure counts the requests that are lost while an application is rolled
// out, with gapless and without it, and with each of the things that gapless does
// alone. Beside this, a [series] measures how long rollouts take, another one what
// probes cost.
package measure

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The exit codes.
const (
	claimHolds = 0
	claimFails = 1
	// unusable is for bad usage, and for runs that say nothing.
	unusable = 2
)

// installLimit is for the chart, including two pods that start.
const installLimit = 5 * rolloutLimit

// Main makes runs and prints what they show; or prints what a file of earlier runs
// shows, for which it needs no cluster (see [NeedsCluster]).
func Main(arguments []string, cluster Cluster) int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	program := program{cluster, realPace, os.Stdout, os.Stderr}
	if series := seriesOf(arguments); series != nil {
		return program.series(ctx, series, arguments[1:])
	}
	return program.main(ctx, arguments)
}

// NeedsCluster is whether Main is going to make runs with these arguments, or else
// may be called without a cluster.
func NeedsCluster(arguments []string) bool {
	if series := seriesOf(arguments); series != nil {
		options, err := series.parse(arguments[1:], io.Discard)
		return err == nil && !options.list
	}
	options, err := parse(arguments, io.Discard)
	return err == nil && options.render == "" && !options.list
}

type program struct {
	cluster        Cluster
	pace           pace
	stdout, stderr io.Writer
}

func (p program) main(ctx context.Context, arguments []string) int {
	options, err := parse(arguments, p.stderr)
	if errors.Is(err, flag.ErrHelp) {
		return claimHolds
	}
	var records []Record
	switch {
	case err != nil:
	case options.list:
		for _, variant := range options.variants {
			fmt.Fprintf(p.stdout, "%-26s%d runs: %s\n", variant.name, variant.runs, variant.what)
		}
		return claimHolds
	case options.render != "":
		records, err = readFile(options.render)
	default:
		records, err = p.measure(ctx, options)
	}
	// What there is, also if it is not all.
	if len(records) > 0 {
		fmt.Fprint(p.stdout, table(records))
		if options.svg != "" {
			err = errors.Join(err, writePicture(options.svg, records))
		}
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "lab measure:", err)
		return unusable
	}
	return judge(records).exitCode()
}

// measure makes all runs: first those without gapless, because it stays once it is
// installed.
func (p program) measure(ctx context.Context, options options) ([]Record, error) {
	if p.cluster == nil {
		return nil, errors.New("there is no cluster to make runs in")
	}
	file := io.Discard
	if options.json != "" {
		created, err := os.Create(options.json)
		if err != nil {
			return nil, err
		}
		defer created.Close()
		file = created
	}
	experiment := &experiment{cluster: p.cluster, pace: p.pace}
	var err error
	if experiment.kubernetes, err = experiment.version(ctx); err != nil {
		return nil, err
	}

	var records []Record
	for _, installed := range []bool{false, true} {
		selected := options.withGapless(installed)
		if installed && len(selected) > 0 {
			fmt.Fprintln(p.stderr, "installing gapless")
			if err := p.install(ctx); err != nil {
				return records, fmt.Errorf("gapless cannot be installed: %w", err)
			}
		}
		for _, variant := range selected {
			for number := range variant.runs {
				record := experiment.run(ctx, variant, number+1)
				if ctx.Err() != nil {
					return records, errors.New("interrupted")
				}
				records = append(records, record)
				if err := writeLine(file, record); err != nil {
					return records, err
				}
				fmt.Fprintf(p.stderr, "%3d of %d: %s\n", len(records), options.allRuns(), record.summary())
			}
		}
	}
	return records, nil
}

func (p program) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, installLimit)
	defer cancel()
	return p.cluster.InstallGapless(ctx)
}

// version is that of the API server.
func (e *experiment) version(ctx context.Context) (string, error) {
	output, err := e.kubectl(ctx, "", "get", "--raw", "/version")
	if err != nil {
		return "", err
	}
	var found struct{ GitVersion string }
	err = json.Unmarshal([]byte(output), &found)
	return found.GitVersion, err
}

// summary is a line for whoever waits.
func (r Record) summary() string {
	text := fmt.Sprintf("%s, run %d: %d of %d requests lost, roll-out %.1f s", r.Variant, r.Run, r.Failed, r.Sent, r.RolloutSeconds)
	if !r.Valid {
		text += " (invalid: " + strings.Join(r.InvalidReasons, "; ") + ")"
	}
	return text
}

func readFile(path string) ([]Record, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	records, err := readRecords(file)
	if err == nil && len(records) == 0 {
		err = errors.New("there is no run in it")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return records, nil
}

func writePicture(path string, records []Record) error {
	picture, err := picture(records)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(picture), 0o644)
}
