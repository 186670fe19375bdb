//! The few DICOM elements this program looks at. All others are walked over, never read.

/// Group in the upper, element in the lower 16 bits.
pub(super) type Tag = u32;

pub(super) const TRANSFER_SYNTAX: Tag = 0x0002_0010;
pub(super) const DIRECTORY_RECORDS: Tag = 0x0004_1220;
pub(super) const RECORD_TYPE: Tag = 0x0004_1430;
pub(super) const FILE_ID: Tag = 0x0004_1500;
pub(super) const SOP_CLASS: Tag = 0x0008_0016;
pub(super) const SOP_INSTANCE: Tag = 0x0008_0018;
pub(super) const MODALITY: Tag = 0x0008_0060;
pub(super) const REFERENCED_INSTANCE: Tag = 0x0008_1155;
pub(super) const REFERENCED_FRAME: Tag = 0x0008_1160;
pub(super) const SOURCE_IMAGES: Tag = 0x0008_2112;
pub(super) const DISPLAY_RATE: Tag = 0x0008_2144;
pub(super) const DERIVATION: Tag = 0x0008_9124;
pub(super) const IDENTITY_REMOVED: Tag = 0x0012_0062;
pub(super) const CINE_RATE: Tag = 0x0018_0040;
pub(super) const FRAME_TIME: Tag = 0x0018_1063;
pub(super) const FRAME_TIME_VECTOR: Tag = 0x0018_1065;
pub(super) const REGIONS: Tag = 0x0018_6011;
pub(super) const REGION_FORMAT: Tag = 0x0018_6012;
pub(super) const REGION_X0: Tag = 0x0018_6018;
pub(super) const REGION_Y0: Tag = 0x0018_601a;
pub(super) const REGION_X1: Tag = 0x0018_601c;
pub(super) const REGION_Y1: Tag = 0x0018_601e;
pub(super) const REGION_UNIT_X: Tag = 0x0018_6024;
pub(super) const REGION_UNIT_Y: Tag = 0x0018_6026;
pub(super) const REGION_DELTA_X: Tag = 0x0018_602c;
pub(super) const REGION_DELTA_Y: Tag = 0x0018_602e;
pub(super) const STUDY: Tag = 0x0020_000d;
pub(super) const SERIES: Tag = 0x0020_000e;
pub(super) const SERIES_NUMBER: Tag = 0x0020_0011;
pub(super) const INSTANCE_NUMBER: Tag = 0x0020_0013;
pub(super) const ACQUISITION_NUMBER: Tag = 0x0020_0012;
pub(super) const TEMPORAL_POSITION: Tag = 0x0020_0100;
pub(super) const POSITION: Tag = 0x0020_0032;
pub(super) const ORIENTATION: Tag = 0x0020_0037;
pub(super) const SPACE: Tag = 0x0020_0052;
pub(super) const IN_STACK: Tag = 0x0020_9057;
pub(super) const FRAME_CONTENT: Tag = 0x0020_9111;
pub(super) const PLANE_POSITION: Tag = 0x0020_9113;
pub(super) const PLANE_ORIENTATION: Tag = 0x0020_9116;
pub(super) const TEMPORAL_INDEX: Tag = 0x0020_9128;
pub(super) const TRIGGER_DELAY: Tag = 0x0020_9153;
pub(super) const DIMENSION_VALUES: Tag = 0x0020_9157;
pub(super) const DIMENSION_POINTER: Tag = 0x0020_9165;
pub(super) const DIMENSIONS: Tag = 0x0020_9222;
pub(super) const POSITION_IN_VOLUME: Tag = 0x0020_9301;
pub(super) const ORIENTATION_IN_VOLUME: Tag = 0x0020_9302;
pub(super) const TIME_OFFSET: Tag = 0x0020_930d;
pub(super) const PLANE_POSITION_IN_VOLUME: Tag = 0x0020_930e;
pub(super) const PLANE_ORIENTATION_IN_VOLUME: Tag = 0x0020_930f;
pub(super) const TEMPORAL_POSITIONS: Tag = 0x0020_9310;
pub(super) const SPACE_OF_VOLUME: Tag = 0x0020_9312;
pub(super) const SAMPLES: Tag = 0x0028_0002;
pub(super) const PHOTOMETRIC: Tag = 0x0028_0004;
pub(super) const PLANAR: Tag = 0x0028_0006;
pub(super) const FRAMES: Tag = 0x0028_0008;
pub(super) const FRAME_POINTER: Tag = 0x0028_0009;
pub(super) const ROWS: Tag = 0x0028_0010;
pub(super) const COLUMNS: Tag = 0x0028_0011;
pub(super) const PIXEL_SPACING: Tag = 0x0028_0030;
pub(super) const BITS_ALLOCATED: Tag = 0x0028_0100;
pub(super) const BITS_STORED: Tag = 0x0028_0101;
pub(super) const HIGH_BIT: Tag = 0x0028_0102;
pub(super) const SIGNED: Tag = 0x0028_0103;
pub(super) const PADDING: Tag = 0x0028_0120;
pub(super) const PADDING_LIMIT: Tag = 0x0028_0121;
pub(super) const BURNED_IN: Tag = 0x0028_0301;
pub(super) const WINDOW_CENTRE: Tag = 0x0028_1050;
pub(super) const WINDOW_WIDTH: Tag = 0x0028_1051;
pub(super) const INTERCEPT: Tag = 0x0028_1052;
pub(super) const SLOPE: Tag = 0x0028_1053;
pub(super) const VOI_FUNCTION: Tag = 0x0028_1056;
pub(super) const RED_DESCRIPTOR: Tag = 0x0028_1101;
pub(super) const GREEN_DESCRIPTOR: Tag = 0x0028_1102;
pub(super) const BLUE_DESCRIPTOR: Tag = 0x0028_1103;
pub(super) const RED: Tag = 0x0028_1201;
pub(super) const GREEN: Tag = 0x0028_1202;
pub(super) const BLUE: Tag = 0x0028_1203;
pub(super) const SEGMENTED_RED: Tag = 0x0028_1221;
pub(super) const SEGMENTED_GREEN: Tag = 0x0028_1222;
pub(super) const SEGMENTED_BLUE: Tag = 0x0028_1223;
pub(super) const LOSSY: Tag = 0x0028_2110;
pub(super) const LOSSY_RATIO: Tag = 0x0028_2112;
pub(super) const LOSSY_METHOD: Tag = 0x0028_2114;
pub(super) const MODALITY_LUTS: Tag = 0x0028_3000;
pub(super) const LUT_DESCRIPTOR: Tag = 0x0028_3002;
pub(super) const LUT_DATA: Tag = 0x0028_3006;
pub(super) const VOI_LUTS: Tag = 0x0028_3010;
pub(super) const PIXEL_MEASURES: Tag = 0x0028_9110;
pub(super) const FRAME_VOI: Tag = 0x0028_9132;
pub(super) const PIXEL_TRANSFORM: Tag = 0x0028_9145;
pub(super) const SEGMENTATION_TYPE: Tag = 0x0062_0001;
pub(super) const SEGMENTS: Tag = 0x0062_0002;
pub(super) const SEGMENT_NUMBER: Tag = 0x0062_0004;
pub(super) const SEGMENT_LABEL: Tag = 0x0062_0005;
pub(super) const SEGMENT_ID: Tag = 0x0062_000a;
pub(super) const REFERENCED_SEGMENT: Tag = 0x0062_000b;
pub(super) const MAXIMUM_FRACTION: Tag = 0x0062_000e;
pub(super) const CONTENT_DESCRIPTION: Tag = 0x0070_0081;
pub(super) const SHARED_GROUPS: Tag = 0x5200_9229;
pub(super) const PER_FRAME_GROUPS: Tag = 0x5200_9230;
pub(super) const EXTENDED_OFFSETS: Tag = 0x7fe0_0001;
pub(super) const PIXELS: Tag = 0x7fe0_0010;
pub(super) const ITEM: Tag = 0xfffe_e000;
pub(super) const ITEM_END: Tag = 0xfffe_e00d;
pub(super) const SEQUENCE_END: Tag = 0xfffe_e0dd;

/// Elements whose values are kept.
pub(super) const KEPT: [Tag; 80] = [
    TRANSFER_SYNTAX,
    RECORD_TYPE,
    FILE_ID,
    SOP_CLASS,
    SOP_INSTANCE,
    MODALITY,
    REFERENCED_INSTANCE,
    REFERENCED_FRAME,
    DISPLAY_RATE,
    IDENTITY_REMOVED,
    CINE_RATE,
    FRAME_TIME,
    FRAME_TIME_VECTOR,
    REGION_FORMAT,
    REGION_X0,
    REGION_Y0,
    REGION_X1,
    REGION_Y1,
    REGION_UNIT_X,
    REGION_UNIT_Y,
    REGION_DELTA_X,
    REGION_DELTA_Y,
    STUDY,
    SERIES,
    SERIES_NUMBER,
    INSTANCE_NUMBER,
    ACQUISITION_NUMBER,
    TEMPORAL_POSITION,
    POSITION,
    ORIENTATION,
    SPACE,
    IN_STACK,
    TEMPORAL_INDEX,
    DIMENSION_VALUES,
    DIMENSION_POINTER,
    POSITION_IN_VOLUME,
    ORIENTATION_IN_VOLUME,
    TIME_OFFSET,
    SPACE_OF_VOLUME,
    SAMPLES,
    PHOTOMETRIC,
    PLANAR,
    FRAMES,
    FRAME_POINTER,
    ROWS,
    COLUMNS,
    PIXEL_SPACING,
    BITS_ALLOCATED,
    BITS_STORED,
    HIGH_BIT,
    SIGNED,
    PADDING,
    PADDING_LIMIT,
    BURNED_IN,
    WINDOW_CENTRE,
    WINDOW_WIDTH,
    INTERCEPT,
    SLOPE,
    VOI_FUNCTION,
    LOSSY,
    LOSSY_RATIO,
    LOSSY_METHOD,
    RED_DESCRIPTOR,
    GREEN_DESCRIPTOR,
    BLUE_DESCRIPTOR,
    RED,
    GREEN,
    BLUE,
    SEGMENTED_RED,
    SEGMENTED_GREEN,
    SEGMENTED_BLUE,
    LUT_DESCRIPTOR,
    LUT_DATA,
    SEGMENTATION_TYPE,
    SEGMENT_NUMBER,
    SEGMENT_LABEL,
    REFERENCED_SEGMENT,
    MAXIMUM_FRACTION,
    CONTENT_DESCRIPTION,
    EXTENDED_OFFSETS,
];

/// Those of them that are tables, or hold a number for each of many frames.
pub(super) const LISTS: [Tag; 10] = [
    REFERENCED_FRAME,
    FRAME_TIME_VECTOR,
    RED,
    GREEN,
    BLUE,
    SEGMENTED_RED,
    SEGMENTED_GREEN,
    SEGMENTED_BLUE,
    LUT_DATA,
    EXTENDED_OFFSETS,
];

/// Sequences whose items are kept (also when an implicit syntax does not name them as such).
pub(super) const SEQUENCES: [Tag; 20] = [
    DIRECTORY_RECORDS,
    SOURCE_IMAGES,
    DERIVATION,
    REGIONS,
    FRAME_CONTENT,
    PLANE_POSITION,
    PLANE_ORIENTATION,
    DIMENSIONS,
    PLANE_POSITION_IN_VOLUME,
    PLANE_ORIENTATION_IN_VOLUME,
    TEMPORAL_POSITIONS,
    MODALITY_LUTS,
    VOI_LUTS,
    PIXEL_MEASURES,
    FRAME_VOI,
    PIXEL_TRANSFORM,
    SEGMENTS,
    SEGMENT_ID,
    SHARED_GROUPS,
    PER_FRAME_GROUPS,
];
