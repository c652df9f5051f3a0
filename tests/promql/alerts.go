package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
)

// firing is an alert of one series, from the minute on in which it fires.
type firing struct {
	Alert       string            `json:"alert"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	From        float64           `json:"from"`
	// Until is the minute in which it has ended; without it, it still fires at the end.
	Until *float64 `json:"until"`
}

// alerts answers which alerts of the rules fire on the tape, and when. It is what
// the rule manager of Prometheus does, which would bring half of Prometheus along.
func alerts(asked question, recorded *tape) (any, error) {
	// Helm's output is read as Prometheus reads its files, templates included.
	groups, errs := rulefmt.Parse(asked.Rules, false, model.UTF8Validation, language, slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	engine := newEngine()
	fired := []*firing{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			ofRule, err := recorded.evaluate(engine, rule)
			if err != nil {
				return nil, fmt.Errorf("alert %s: %w", rule.Alert, err)
			}
			fired = append(fired, ofRule...)
		}
	}
	slices.SortStableFunc(fired, func(a, b *firing) int { return cmp.Compare(a.From, b.From) })
	return fired, nil
}

// pending is an alert of one series whose condition holds.
type pending struct {
	since time.Time
	fires *firing // nil until it has held for long enough
}

func (t *tape) evaluate(engine *promql.Engine, rule rulefmt.Rule) ([]*firing, error) {
	var fired []*firing
	active := map[string]*pending{}
	for at := t.start; !at.After(t.end); at = at.Add(interval) {
		minute := at.Sub(t.start).Minutes()
		vector, err := t.ask(engine, rule.Expr, at)
		if err != nil {
			return nil, err
		}
		holds := map[string]bool{}
		for _, sample := range vector {
			key := sample.Metric.String()
			holds[key] = true
			if active[key] == nil {
				active[key] = &pending{since: at}
			}
			alert := active[key]
			if alert.fires == nil && at.Sub(alert.since) >= time.Duration(rule.For) {
				if alert.fires, err = describe(rule, sample, at, minute); err != nil {
					return nil, err
				}
				fired = append(fired, alert.fires)
			}
		}
		for key, alert := range active {
			if !holds[key] {
				if alert.fires != nil {
					alert.fires.Until = &minute
				}
				delete(active, key)
			}
		}
	}
	return fired, nil
}

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		Logger:     slog.New(slog.DiscardHandler),
		MaxSamples: math.MaxInt32,
		Timeout:    time.Minute,
		Parser:     language,
	})
}

func (t *tape) ask(engine *promql.Engine, expression string, at time.Time) (promql.Vector, error) {
	ctx := context.Background()
	query, err := engine.NewInstantQuery(ctx, t, nil, expression, at)
	if err != nil {
		return nil, err
	}
	defer query.Close()
	result := query.Exec(ctx)
	if len(result.Warnings) > 0 {
		return nil, result.Warnings.AsErrors()[0]
	}
	vector, err := result.Vector()
	// The samples are reused once the query is closed.
	return slices.Clone(vector), err
}

// describe fills in the templates. A label that the series does not have is an error.
func describe(rule rulefmt.Rule, sample promql.Sample, at time.Time, minute float64) (*firing, error) {
	data := template.AlertTemplateData(sample.Metric.Map(), nil, "", sample)
	variables := "{{$labels := .Labels}}{{$value := .Value}}"
	expand := func(texts map[string]string) (map[string]string, error) {
		expanded := map[string]string{}
		for name, text := range texts {
			expander := template.NewTemplateExpander(context.Background(), variables+text, rule.Alert, data,
				model.TimeFromUnixNano(at.UnixNano()), nil, nil, []string{"missingkey=error"})
			result, err := expander.Expand()
			if err != nil {
				return nil, err
			}
			expanded[name] = strings.TrimSpace(result)
		}
		return expanded, nil
	}
	annotations, err := expand(rule.Annotations)
	if err != nil {
		return nil, err
	}
	own, err := expand(rule.Labels)
	if err != nil {
		return nil, err
	}
	all := labels.NewBuilder(sample.Metric).Del(labels.MetricName).Labels().Map()
	for name, value := range own {
		all[name] = value
	}
	return &firing{Alert: rule.Alert, Labels: all, Annotations: annotations, From: minute}, nil
}
