"""Small charts as SVG text: axes, steps, bands, points, bars.

Hand-made, and not by a chart library that draws in the browser (Vega-Lite, Plotly, Observable
Plot), because the page must say everything without JavaScript, on paper, in a mail and in a file of
its own: those draw nothing until their script ran. Each would add between half a megabyte and four
to a page that has a tenth of one, and Vega compiles its expressions, which the page's content
policy forbids for the sake of the captions on it. Here a page of a thousand runs is drawn in
seconds, follows the reader's light or dark scheme, and stays readable at the width of a phone.
Marks carry classes only: the page gives them colours, and `standalone` adds a style sheet for a
file of its own. Every text is escaped.
"""
