// Package nearest finds the word that somebody meant who wrote another one: for
// error messages about settings, modules and filters.
package nearest

import "strings"

// longest bounds the work on words that come from outside, in octets.
const longest = 64

// Word is that of the known words which s may stand for, whatever the case: one
// that begins with s, or is a few letters from it. It is empty if none is near.
func Word(s string, known []string) string {
	if s = strings.ToLower(s); len(s) > longest {
		return ""
	}
	most := 2
	if len(s) < 5 {
		most = 1
	}
	best := ""
	for _, k := range known {
		word := strings.ToLower(k)
		if len(s) >= 3 && strings.HasPrefix(word, s) {
			return k
		}
		if len(word) > longest {
			continue
		}
		if d := distance(s, word); d < len(word) && (d < most || d == most && best == "") {
			best, most = k, d
		}
	}
	return best
}

// distance counts the letters to add, drop, change or swap with a neighbour to
// make one word of the other.
func distance(a, b string) int {
	prev2, prev := []int(nil), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev = prev, row
	}
	return prev[len(b)]
}
