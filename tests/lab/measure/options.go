package measure

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// options are the command line.
type options struct {
	variants []variant
	json     string
	svg      string
	render   string
	list     bool
}

const usage = `usage: lab measure [OPTION...]
Counts the requests that are lost in rolling updates, and prints a table.

  --pair           only the two variants that the claim is about: without, with
  --variant NAME   only this variant; may be repeated
  --runs N         this many runs of each variant
  --json FILE      write a line for each run as soon as it is finished
  --svg FILE       draw the requests lost by without and with
  --render FILE    make no runs: print (and draw) what such a JSON file holds
  --list           name the variants

lab measure durations and lab measure probe-periods measure something else, and have
options of their own: see their --help.

Exit codes: 0 the claim holds in all that was run; 1 it does not: a run of with
lost requests, or one of without lost none; 2 bad usage, or a run says nothing.
`

// parse prints what is wrong, and the usage.
func parse(arguments []string, stderr io.Writer) (options, error) {
	var options options
	var names []string
	flags := flag.NewFlagSet("lab measure", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	pair := flags.Bool("pair", false, "")
	runs := flags.Int("runs", 0, "")
	flags.Func("variant", "", func(name string) error {
		names = append(names, name)
		return nil
	})
	flags.StringVar(&options.json, "json", "", "")
	flags.StringVar(&options.svg, "svg", "", "")
	flags.StringVar(&options.render, "render", "", "")
	flags.BoolVar(&options.list, "list", false, "")

	err := flags.Parse(arguments)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stderr, usage)
		return options, err
	}
	given := map[string]bool{}
	flags.Visit(func(flag *flag.Flag) { given[flag.Name] = true })
	switch {
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("%q is no option", flags.Arg(0))
	case given["runs"] && *runs < 1:
		err = errors.New("--runs needs a number above 0")
	case *pair && len(names) > 0:
		err = errors.New("--pair chooses the variants: leave --variant away")
	case given["render"] && (*pair || len(names) > 0 || given["runs"] || given["json"]):
		err = errors.New("--render makes no runs: only --svg goes with it")
	default:
		if *pair {
			names = []string{withoutGapless, withGapless}
		}
		options.variants, err = choose(names, *runs)
	}
	if err == nil && options.svg != "" && options.render == "" && !(options.has(withoutGapless) && options.has(withGapless)) {
		err = errors.New("--svg draws the variants without and with: run both")
	}
	if err != nil {
		fmt.Fprint(stderr, usage)
	}
	return options, err
}

// choose is all variants if none is named, in the order of the table.
func choose(names []string, runs int) ([]variant, error) {
	for _, name := range names {
		if variantOf(name) == nil {
			var all []string
			for _, variant := range variants {
				all = append(all, variant.name)
			}
			return nil, fmt.Errorf("there is no variant %q, only %s", name, strings.Join(all, ", "))
		}
	}
	var chosen []variant
	for _, variant := range variants {
		if len(names) > 0 && !slices.Contains(names, variant.name) {
			continue
		}
		if runs > 0 {
			variant.runs = runs
		}
		chosen = append(chosen, variant)
	}
	return chosen, nil
}

func (o options) has(name string) bool {
	return slices.ContainsFunc(o.variants, func(variant variant) bool { return variant.name == name })
}

// withGapless are the variants for which it is installed, or those for which not.
func (o options) withGapless(installed bool) []variant {
	var matching []variant
	for _, variant := range o.variants {
		if variant.gapless == installed {
			matching = append(matching, variant)
		}
	}
	return matching
}

func (o options) allRuns() int {
	all := 0
	for _, variant := range o.variants {
		all += variant.runs
	}
	return all
}
