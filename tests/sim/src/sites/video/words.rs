//! What the videos are about: companies that there aren't, under tickers that mislead.

/// Ticker, company, and the words of a title in which the ticker is something else.
pub(super) const COMPANIES: [(&str, &str, &str); 10] = [
    ("AA", "Arlen Alloys", "Why $AAL flies again"),
    ("AAL", "Aalbury Airways", "What an AALborg winter does to travel"),
    ("T", "Telmark Networks", "T-shirts that traders wear"),
    ("TXN", "Texelnor Instruments", "The $TXNM grid"),
    ("LOW", "Lowther Homes", "How LOW can prices go"),
    ("CAT", "Catterick Machines", "My CAT watches the market"),
    ("GE", "Gelder Energy", "GE, GEE and other noises of dealers"),
    ("MRDN", "Marden Optics", "$MRDNX funds"),
    ("KLSO", "Kelso Paper", "The KLSOns of the north"),
    ("WXCB", "Wexcombe Payments", "$WXC bonds"),
];

/// How a call begins, and how anything else does.
pub(super) const OPENINGS: [&str; 2] = [
    "Good morning, and welcome to the earnings call of {c} for {q}. All lines are muted for now.",
    "Hello everybody, and thanks for watching. Today we talk about {c} and about what comes next.",
];

/// What is then said, with numbers of its own.
pub(super) const SENTENCES: [&str; 12] = [
    "Revenue rose by # percent, most of it from customers whom we have served for years.",
    "The margin came to # percent, up from the quarter before.",
    "We spent # million on the new plant and expect it to open in spring.",
    "Orders stand at # million, the highest in our history.",
    "For the year we now expect # percent of growth.",
    "Freight took # percent of sales, which we don't expect to see again.",
    "The board of {c} has approved a buyback of # million.",
    "Cash came to # million at the end of the quarter, after all debts of this year.",
    "We closed # branches and opened as many elsewhere.",
    "Prices rose by # percent in March without a customer lost.",
    "Our people at {c} finished the move of the warehouse in # days.",
    "With that I would take the first of # questions.",
];

/// Titles of something else.
pub(super) const WALKS: [&str; 4] = [
    "A walk along the harbour at dawn",
    "Three ways to mend a kettle",
    "The old railway, filmed from the front",
    "Rain on a tin roof, one hour",
];
