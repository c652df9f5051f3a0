// Command promql answers questions about PromQL with Prometheus' own parser and
// engine, over what processes have exposed: the tests of gapless ask it about the
// alerts and the dashboard of the chart, and about the queries on its pages.
//
// The first argument names the question, which is read as JSON from standard
// input; the answer is JSON on standard output.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/prometheus/prometheus/promql/parser"
)

// question is what standard input holds.
type question struct {
	// Start is minute 0, in seconds since 1970.
	Start float64 `json:"start"`
	// Minutes is how long the tape is.
	Minutes float64 `json:"minutes"`
	// Targets are what is scraped meanwhile.
	Targets []target `json:"targets"`
	// Expressions are looked at by "uses" and "values": what each is called, and its text.
	Expressions map[string]string `json:"expressions"`
	// Rules are looked at by "alerts": the spec of a PrometheusRule.
	Rules json.RawMessage `json:"rules"`
}

// language is PromQL without anything that has to be switched on.
var language = parser.NewParser(parser.Options{})

// questions maps the first argument to what answers it.
var questions = map[string]func(question, *tape) (any, error){
	"uses":   uses,
	"values": values,
	"alerts": alerts,
}

func main() {
	if len(os.Args) != 2 || questions[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: promql uses|values|alerts <QUESTION.json")
		os.Exit(2)
	}
	if err := answer(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "promql:", err)
		os.Exit(1)
	}
}

func answer(name string) error {
	var asked question
	decoder := json.NewDecoder(os.Stdin)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil {
		return fmt.Errorf("reading the question: %w", err)
	}
	recorded, err := record(asked)
	if err != nil {
		return err
	}
	answer, err := questions[name](asked, recorded)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(answer)
}
