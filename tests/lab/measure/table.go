package measure

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gapless.dev/tests/lab/load"
)

// listed is how many runs are shown one by one; of more, only the range.
const listed = 3

// table is Markdown: a row for each variant, the verdict, and why runs are invalid.
// It depends on nothing but the records.
func table(records []Record) string {
	var text strings.Builder
	text.WriteString("| variant | what it is | runs | sent per run | lost per run | kinds | longest outage | roll-out |\n")
	text.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, variant := range variants {
		var valid []Record
		invalid := 0
		for _, record := range records {
			switch {
			case record.Variant != variant.name:
			case record.Valid:
				valid = append(valid, record)
			default:
				invalid++
			}
		}
		if len(valid)+invalid > 0 {
			text.WriteString(row(variant, valid, invalid))
		}
	}
	fmt.Fprintf(&text, "\n%v\n", judge(records))
	for _, record := range records {
		if !record.Valid {
			fmt.Fprintf(&text, "\nInvalid: `%s`, run %d: %s.\n", record.Variant, record.Run, strings.Join(record.InvalidReasons, "; "))
		}
	}
	return text.String()
}

func row(variant variant, valid []Record, invalid int) string {
	runs := strconv.Itoa(len(valid))
	if invalid > 0 {
		runs += fmt.Sprintf(" (and %d invalid)", invalid)
	}
	cells := []string{"`" + variant.name + "`", variant.what, runs, "–", "–", "–", "–", "–"}
	if len(valid) > 0 {
		copy(cells[3:], []string{
			spread(valid, sent), each(valid, lost), kinds(valid), longest(valid), inSeconds(medianRollout(valid)),
		})
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

func sent(record Record) int { return record.Sent }
func lost(record Record) int { return record.Failed }

// each lists the values of few runs, in the runs' order.
func each(records []Record, value func(Record) int) string {
	if len(records) > listed {
		return spread(records, value)
	}
	var values []string
	for _, record := range records {
		values = append(values, thousands(value(record)))
	}
	return strings.Join(values, ", ")
}

// spread is the least and the greatest value.
func spread(records []Record, value func(Record) int) string {
	least, greatest := value(records[0]), value(records[0])
	for _, record := range records {
		least, greatest = min(least, value(record)), max(greatest, value(record))
	}
	if least == greatest {
		return thousands(least)
	}
	return thousands(least) + "–" + thousands(greatest)
}

func sum(records []Record, value func(Record) int) int {
	all := 0
	for _, record := range records {
		all += value(record)
	}
	return all
}

// kinds are those of all runs together, the most frequent first.
func kinds(records []Record) string {
	counts := map[load.Kind]int{}
	for _, record := range records {
		for kind, count := range record.Kinds {
			counts[kind] += count
		}
	}
	if len(counts) == 0 {
		return "–"
	}
	var parts []string
	for _, kind := range slices.SortedFunc(maps.Keys(counts), func(a, b load.Kind) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	}) {
		parts = append(parts, fmt.Sprintf("%s %s", thousands(counts[kind]), kind))
	}
	return strings.Join(parts, ", ")
}

func longest(records []Record) string {
	outage := 0.0
	for _, record := range records {
		outage = max(outage, record.OutageSeconds)
	}
	if outage == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f s", outage)
}

func medianRollout(records []Record) float64 {
	var all []float64
	for _, record := range records {
		all = append(all, record.RolloutSeconds)
	}
	slices.Sort(all)
	middle := len(all) / 2
	if len(all)%2 == 0 {
		return (all[middle-1] + all[middle]) / 2
	}
	return all[middle]
}

func inSeconds(value float64) string { return fmt.Sprintf("%.1f s", value) }

// thousands puts a comma before each group of three digits.
func thousands(number int) string {
	text := strconv.Itoa(number)
	for end := len(text) - 3; end > 0; end -= 3 {
		text = text[:end] + "," + text[end:]
	}
	return text
}
