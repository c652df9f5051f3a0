package measure

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// series is a measurement of several variants beside the one of lost requests. It is
// named by the first argument.
type series struct {
	name     string
	usage    string
	variants []variant
	runs     int
	// run makes one run: its record, and a line for whoever waits.
	run func(*experiment, context.Context, variant, int) (any, string, error)
}

var allSeries = []series{
	{
		name: "durations", variants: settings, runs: 3,
		usage: "Measures how long rolling updates take, for what gapless preview says beside it.",
		run: func(e *experiment, ctx context.Context, setting variant, number int) (any, string, error) {
			seen, err := e.duration(ctx, setting, number)
			return seen, fmt.Sprintf("%.2f s", seen.Seconds), err
		},
	},
	{
		name: "probe-periods", variants: periods, runs: 3,
		usage: "Measures what the period of the readiness probe brings and costs.",
		run: func(e *experiment, ctx context.Context, setting variant, number int) (any, string, error) {
			seen, err := e.probePeriod(ctx, setting, number)
			return seen, seen.summary(), err
		},
	},
}

// tries is how often a run is made that could not be made at first, such as one with
// a load that was not even.
const tries = 3

const seriesUsage = `usage: lab measure %s [OPTION...]
%s

  --variant NAME   only this variant; may be repeated
  --runs N         this many runs of each variant, instead of %d
  --json FILE      write a line for each run as soon as it is finished
  --list           name the variants

Exit codes: 0 all runs could be made; 2 bad usage, or a run could not be made.
`

// seriesOf is nil if the arguments name none.
func seriesOf(arguments []string) *series {
	for n := range allSeries {
		if len(arguments) > 0 && arguments[0] == allSeries[n].name {
			return &allSeries[n]
		}
	}
	return nil
}

type seriesOptions struct {
	variants []variant
	runs     int
	json     string
	list     bool
}

// parse prints what is wrong, and the usage.
func (s *series) parse(arguments []string, stderr io.Writer) (seriesOptions, error) {
	options := seriesOptions{runs: s.runs}
	var names []string
	flags := flag.NewFlagSet("lab measure "+s.name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Func("variant", "", func(name string) error {
		names = append(names, name)
		return nil
	})
	flags.IntVar(&options.runs, "runs", s.runs, "")
	flags.StringVar(&options.json, "json", "", "")
	flags.BoolVar(&options.list, "list", false, "")
	err := flags.Parse(arguments)
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("%q is no option", flags.Arg(0))
	case options.runs < 1:
		err = errors.New("--runs needs a number above 0")
	default:
		options.variants, err = s.choose(names)
	}
	if err != nil {
		fmt.Fprintf(stderr, seriesUsage, s.name, s.usage, s.runs)
	}
	return options, err
}

func (s *series) choose(names []string) ([]variant, error) {
	var all []string
	for _, variant := range s.variants {
		all = append(all, variant.name)
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("there is no variant %q, only %s", name, strings.Join(all, ", "))
		}
	}
	var chosen []variant
	for _, variant := range s.variants {
		if len(names) == 0 || slices.Contains(names, variant.name) {
			chosen = append(chosen, variant)
		}
	}
	return chosen, nil
}

// series makes the runs of one, each variant in turn, so that what the machine does
// meanwhile falls on all of them.
func (p program) series(ctx context.Context, series *series, arguments []string) int {
	options, err := series.parse(arguments, p.stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return claimHolds
	case err != nil:
		fmt.Fprintln(p.stderr, "lab measure:", err)
		return unusable
	case options.list:
		for _, variant := range options.variants {
			fmt.Fprintf(p.stdout, "%-26s%s\n", variant.name, variant.what)
		}
		return claimHolds
	}
	if err := p.makeRuns(ctx, series, options); err != nil {
		fmt.Fprintln(p.stderr, "lab measure:", err)
		return unusable
	}
	return claimHolds
}

func (p program) makeRuns(ctx context.Context, series *series, options seriesOptions) error {
	if p.cluster == nil {
		return errors.New("there is no cluster to make runs in")
	}
	file := io.Discard
	if options.json != "" {
		created, err := os.Create(options.json)
		if err != nil {
			return err
		}
		defer created.Close()
		file = created
	}
	experiment := &experiment{cluster: p.cluster, pace: p.pace}
	var err error
	if experiment.kubernetes, err = experiment.version(ctx); err != nil {
		return err
	}
	// This node is there for nothing else, so it is as young as this process.
	if err := sleep(ctx, p.pace.kubelet); err != nil {
		return err
	}
	var failed error
	for number := range options.runs {
		for _, variant := range options.variants {
			started := time.Now()
			record, said, err := p.try(ctx, series, experiment, variant, number+1)
			if ctx.Err() != nil {
				return errors.Join(failed, errors.New("interrupted"))
			}
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			fmt.Fprintf(p.stdout, "%s, run %d: %s (%.0f s in all)\n", variant.name, number+1, said, time.Since(started).Seconds())
			if err := writeLine(file, record); err != nil {
				return errors.Join(failed, err)
			}
		}
	}
	return failed
}

func (p program) try(ctx context.Context, series *series, experiment *experiment, variant variant, number int) (record any, said string, err error) {
	for experiment.try = range tries {
		record, said, err = series.run(experiment, ctx, variant, number)
		if err == nil || ctx.Err() != nil {
			return record, said, err
		}
		err = fmt.Errorf("%s, run %d: %w", variant.name, number, err)
		fmt.Fprintln(p.stderr, err)
	}
	return record, said, err
}

// writeLine appends a line of JSON.
func writeLine(writer io.Writer, record any) error {
	line, err := json.Marshal(record)
	if err != nil {
		return err
	}
	_, err = writer.Write(append(line, '\n'))
	return err
}
