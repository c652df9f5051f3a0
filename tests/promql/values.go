package main

import "fmt"

// answered is a series that an expression returns.
type answered struct {
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
}

// values answers what each expression returns at the end of the tape.
func values(asked question, recorded *tape) (any, error) {
	engine := newEngine()
	all := map[string][]answered{}
	for name, text := range asked.Expressions {
		vector, err := recorded.ask(engine, text, recorded.end)
		if err != nil {
			return nil, fmt.Errorf("%s: %w in %s", name, err, text)
		}
		all[name] = []answered{}
		for _, sample := range vector {
			all[name] = append(all[name], answered{sample.Metric.Map(), sample.F})
		}
	}
	return all, nil
}
